// A hub whose listening socket somebody else holds, as systemd does: while it is away, connections wait.

import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { BINARY, Hub } from './harness.mjs';

const HOLDER = fileURLToPath(new URL('holder.pl', import.meta.url));

export class HeldHub extends Hub {
  /** @type {import('node:child_process').ChildProcess|undefined} */
  #holder;
  /** The process, while it runs. */
  #pid = 0;
  /** Waiting for lines of the holder, by their first word. */
  #waiting = new Map();
  #log = '';

  /** The holder has one socket. */
  get url() {
    return `http://127.0.0.1:${this.port}`;
  }

  /** @param {string} word */
  #says(word) {
    return new Promise((resolve) => this.#waiting.set(word, resolve));
  }

  async start() {
    if (!this.#holder) {
      const listen = ['--listen', `127.0.0.1:${this.port}`, '--data', this.data];
      this.#holder = spawn('perl', [HOLDER, String(this.port), BINARY, ...listen], { stdio: ['pipe', 'pipe', 'pipe'] });
      this.#holder.stderr.on('data', (text) => {
        this.#log += text;
      });
      createInterface(this.#holder.stdout).on('line', (line) => {
        const [word, rest] = line.split(' ', 2);
        this.#waiting.get(word)?.(rest);
      });
      await this.#says('holding');
    }
    const [pid, listens] = [this.#says('pid'), this.#says('listening')];
    this.#holder.stdin.write('start\n');
    this.#pid = Number(await pid);
    const ended = this.#says('ended').then((code) => assert.fail(`the hub ended with ${code}:\n${this.#log}`));
    ended.catch(() => {});
    await Promise.race([listens, ended]);
  }

  async stop() {
    assert.equal(await this.#end('SIGTERM'), '0', `the hub did not end in order:\n${this.#log}`);
  }

  async kill9() {
    await this.#end('SIGKILL');
  }

  /** @param {NodeJS.Signals} signal */
  async #end(signal) {
    const ended = this.#says('ended');
    process.kill(this.#pid, signal);
    this.#pid = 0;
    return ended;
  }

  vanish() {
    if (this.#pid) process.kill(this.#pid, 'SIGKILL');
    this.#pid = 0;
    this.#holder?.kill('SIGKILL');
    super.vanish();
  }
}
