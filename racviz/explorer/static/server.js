// Requests of a page to the server that it came from.

/** An answer's parts: its length in four bytes, JSON with the sizes of the arrays, the arrays. */
function parsed(bytes) {
  const head = new DataView(bytes).getUint32(0);
  const { data, sizes } = JSON.parse(new TextDecoder().decode(new Uint8Array(bytes, 4, head)));
  const arrays = [];
  let at = 4 + head;
  for (const size of sizes) {
    arrays.push(bytes.slice(at, at + size));
    at += size;
  }
  return [data, arrays];
}

export async function askServer(what) {
  const failed = (why) => {
    const error = `the explorer's process does not answer (${why}); is it still running?`;
    return [{ error }, []];
  };
  const headers = { "Content-Type": "application/json" };
  let answer;
  try {
    answer = await fetch("ask", { method: "POST", headers, body: JSON.stringify(what) });
  } catch (error) {
    return failed(error.message);
  }
  if (!answer.ok) return failed(answer.status);
  return parsed(await answer.arrayBuffer());
}
