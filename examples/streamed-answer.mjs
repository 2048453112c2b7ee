// A streamed answer: publishes a text token by token, with a fence, and ends it. Needs Node 20 and nothing else.
//
//   node examples/streamed-answer.mjs [hub] [channel] < some.txt
//
// Look at it at http://localhost:8080/assets/answer.html?channel=answer, and reload, cut, restart as you like.

const [hub = 'http://localhost:8080', channel = 'answer'] = process.argv.slice(2);
const base = `${hub}/channels/${encodeURIComponent(channel)}`;
const pause_ms = Number(process.env.PAUSE_MS ?? 40);

const pause = (ms) => new Promise((done) => setTimeout(done, ms));

/** Asks until there is an answer: a hub that is restarted, or whose disk fails, is back in a moment. */
async function post(path, body, headers = {}) {
  for (;;) {
    try {
      const answer = await fetch(base + path, { method: 'POST', body, headers });
      if (answer.ok) return await answer.json();
      const problem = await answer.json();
      // `fenced`: another producer has taken over. `ended`: it has been called off. Neither gets better.
      if (answer.status < 500) throw Object.assign(new Error(problem.detail), { final: true });
    } catch (error) {
      if (error.final) throw error;
    }
    await pause(500);
  }
}

let text = '';
for await (const chunk of process.stdin.setEncoding('utf8')) text += chunk;
const tokens = text.match(/\s*\S+|\s+$/gu) ?? [];

const { fence } = await post('/producer');
let at = 0;
try {
  for (const token of tokens) {
    // The key makes a second try harmless: nobody knows what became of a request whose answer was lost.
    await post(`?fence=${fence}`, token, { 'Content-Type': 'text/plain', 'Idempotency-Key': `${channel} ${fence} ${at}` });
    at += 1;
    await pause(pause_ms);
  }
  await post('/end', JSON.stringify({ reason: 'done', data: { tokens: at }, fence }), { 'Content-Type': 'application/json' });
} catch (error) {
  console.error(`after ${at} of ${tokens.length} tokens: ${error.message}`);
  process.exitCode = 1;
}
