// Runs the browser tests: `node run.mjs` all of them, `node run.mjs restart` those of files with this in their names.
//
// Each file has its own browser and each test its own hub, so files run side by side; most of their time is waiting.

import { readdirSync } from 'node:fs';
import { run } from 'node:test';
import { spec } from 'node:test/reporters';
import { fileURLToPath } from 'node:url';

const FILES_AT_ONCE = 3;

/** How long a file may take. */
const TIMEOUT_MS = process.env.FANFARE_LONG ? 900_000 : 240_000;

const wanted = process.argv.slice(2);
const files = readdirSync(new URL('.', import.meta.url))
  .filter((name) => name.endsWith('.test.mjs'))
  .filter((name) => wanted.length === 0 || wanted.some((part) => name.includes(part)))
  .map((name) => fileURLToPath(new URL(name, import.meta.url)));

if (files.length === 0) {
  console.error(`no file of tests has ${wanted.join(' or ')} in its name`);
  process.exit(2);
}

run({ files, concurrency: FILES_AT_ONCE, timeout: TIMEOUT_MS })
  .on('test:fail', () => {
    process.exitCode = 1;
  })
  .compose(new spec())
  .pipe(process.stdout);
