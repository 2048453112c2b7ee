// nginx before the hub, with TLS and HTTP/2, with the lines of docs/proxies/nginx.md.

import assert from 'node:assert/strict';
import { execFileSync, spawn } from 'node:child_process';
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { freePort, until } from './harness.mjs';

const PAGE = new URL('../../docs/proxies/nginx.md', import.meta.url);

const EXECUTABLE = ['/usr/sbin/nginx', '/usr/bin/nginx', '/usr/local/sbin/nginx'].find(existsSync);

/** Whether there is an nginx; otherwise, why the test is skipped. */
export const missing = EXECUTABLE ? false : 'nginx is not installed; `./check` installs it';

/**
 * Starts nginx before a hub until the test has ended; returns where browsers find it.
 * @param {import('node:test').TestContext} test
 * @param {import('./harness.mjs').Hub} hub
 * @param {(site: string) => string} [change]  changes the documented lines
 */
export async function openNginx(test, hub, change = (site) => site) {
  const folder = mkdtempSync(join(tmpdir(), 'fanfare-nginx-'));
  const port = await freePort();
  const at = (name) => join(folder, name);
  const key = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes', '-keyout', at('key.pem')];
  const names = ['-subj', '/CN=localhost', '-addext', 'subjectAltName=DNS:localhost'];
  execFileSync('openssl', ['req', '-x509', '-days', '2', ...key, ...names, '-out', at('cert.pem')], { stdio: 'ignore' });
  const site = fill(/```nginx\n(.*?)```/s.exec(readFileSync(PAGE, 'utf8'))?.[1] ?? '', {
    'server 127.0.0.1:8080;': `server 127.0.0.1:${hub.port};`,
    'listen 443 ssl http2;': `listen 127.0.0.1:${port} ssl http2; listen [::1]:${port} ssl http2;`,
    'listen [::]:443 ssl http2;': '',
    '/etc/ssl/hub.example.com/fullchain.pem': at('cert.pem'),
    '/etc/ssl/hub.example.com/key.pem': at('key.pem'),
  });
  const temporary = ['client_body', 'proxy', 'fastcgi', 'uwsgi', 'scgi'].map((name) => `${name}_temp_path ${at(name)};`);
  writeFileSync(at('nginx.conf'), `user root; daemon off; pid ${at('pid')}; error_log ${at('log')};
    events { worker_connections 768; }
    http { sendfile on; tcp_nopush on; gzip on; access_log off; ${temporary.join(' ')}\n${change(site)} }`);
  const nginx = spawn(EXECUTABLE, ['-p', folder, '-c', at('nginx.conf')], { stdio: 'ignore' });
  const end = () => nginx.kill('SIGTERM'); // Its workers end with it.
  process.on('exit', end);
  test.after(async () => {
    const ended = new Promise((resolve) => nginx.once('exit', resolve));
    end();
    await ended;
    process.off('exit', end);
    rmSync(folder, { recursive: true, force: true, maxRetries: 10 });
  });
  await until('nginx listens', async () => {
    assert.equal(nginx.exitCode, null, existsSync(at('log')) ? readFileSync(at('log'), 'utf8') : 'nginx does not start');
    return accepts(port);
  });
  return `https://localhost:${port}`;
}

/**
 * Puts this test's ports and files where the documentation has an example's. Each must be there.
 * @param {string} text
 * @param {Record<string, string>} examples
 */
function fill(text, examples) {
  for (const [example, ours] of Object.entries(examples)) {
    assert(text.includes(example), `the documented lines have no ${example}`);
    text = text.replaceAll(example, ours);
  }
  return text;
}

/** @param {number} port */
const accepts = (port) => new Promise((resolve) => {
  const socket = connect(port, '127.0.0.1', () => {
    socket.destroy();
    resolve(true);
  });
  socket.once('error', () => resolve(false));
});
