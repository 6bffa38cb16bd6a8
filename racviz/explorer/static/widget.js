// The explorer in a notebook: requests go to the kernel as messages with a number, answers come back with it.

import { mount } from "./mount.js";

/** A copy of a message's buffer that holds nothing else. */
function copied(buffer) {
  if (!buffer.buffer) return buffer;
  return buffer.buffer.slice(buffer.byteOffset, buffer.byteOffset + buffer.byteLength);
}

async function render({ model, el }) {
  const waiting = new Map();
  let number = 0;
  const id = Math.random().toString(36).slice(2);
  const receive = (answer, buffers) => {
    if (!answer || answer.view !== id) return;
    const done = waiting.get(answer.number);
    waiting.delete(answer.number);
    if (done) done([answer.data, buffers.map(copied)]);
  };
  model.on("msg:custom", receive);
  const ask = (what) =>
    new Promise((done) => {
      waiting.set(++number, done);
      model.send({ ...what, number, view: id });
    });
  const mounted = await mount(el, ask);
  return () => {
    model.off("msg:custom", receive);
    mounted.end?.();
  };
}

export default { render };
