// The explorer on a page of its own: #bare shows the picture without controls, #svg the picture as SVG alone.

import { mount } from "./mount.js";

export async function openPage(ask, options) {
  const root = document.getElementById("explorer");
  await mount(root, ask, { bare: location.hash === "#bare", ...options });
  // eslint-disable-next-line no-restricted-properties -- svg() escapes every text that it holds
  if (location.hash === "#svg") document.body.innerHTML = root.rvx.svg();
}
