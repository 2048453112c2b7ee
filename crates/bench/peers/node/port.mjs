// What every peer here needs to be measured: the port from `--port`, and one line that says it listens.

import { parseArgs } from 'node:util';

// Listens on loopback, on the port that was asked for or else on a free one.
export function listen(server) {
  const { values } = parseArgs({ options: { port: { type: 'string', default: '0' } } });
  const listening = server.listen(Number(values.port), '127.0.0.1', () => {
    console.log(`listening on http://127.0.0.1:${listening.address().port}`);
  });
}
