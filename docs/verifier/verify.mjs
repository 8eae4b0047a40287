#!/usr/bin/env node
// Verifies evidence logs as docs/log-format.md describes them. See README.md.

import * as fs from 'node:fs';

import { printable } from './lib/forms.mjs';
import { CallError, verifyFolder } from './lib/folder.mjs';

const USAGE = `usage: verify.mjs [--key VKEY] [--anchor FILE] [--complete] [--json] DIR...
       verify.mjs [--json] -
  --key VKEY     the box's verifier key, as you know it from elsewhere
  --anchor FILE  a signed note of one log, kept elsewhere
  --complete     lines that are not signed yet are a finding
  --json         one JSON object a line for each DIR
  -              one JSON object {"dir", "key", "anchor", "complete"} a line from standard input, answered in JSON
exit code: 0 no finding, 10 findings, 2 the call cannot be taken
`;
const OK = 0, FINDINGS = 10, BAD_CALL = 2;

function main(args) {
  const call = parse(args);
  if (call === null) {
    fs.writeSync(2, USAGE);
    return BAD_CALL;
  }
  if (call.help) {
    print(USAGE);
    return OK;
  }
  const requests = call.dirs[0] === '-' ? standardInput()
    : call.dirs.map((dir) => ({ dir, key: call.key, anchor: call.anchor, complete: call.complete }));
  const answer = call.json || call.dirs[0] === '-' ? (result) => `${JSON.stringify(result)}\n` : forPeople;
  let exit = OK;
  for (const request of requests) {
    const result = verify(request);
    print(answer(result));
    if (result.error !== undefined) exit = BAD_CALL;
    else if (!result.ok && exit === OK) exit = FINDINGS;
  }
  return exit;
}

function parse(args) {
  const call = { key: null, anchor: null, complete: false, json: false, help: false, dirs: [] };
  for (let i = 0; i < args.length; i += 1) {
    const arg = args[i];
    if (arg === '--key' || arg === '--anchor') {
      if (i + 1 === args.length) return null;
      i += 1;
      call[arg.slice(2)] = args[i];
    } else if (arg === '--complete' || arg === '--json' || arg === '--help') {
      call[arg.slice(2)] = true;
    } else if (arg === '--') {
      call.dirs.push(...args.slice(i + 1));
      break;
    } else if (arg.startsWith('-') && arg !== '-') {
      return null;
    } else {
      call.dirs.push(arg);
    }
  }
  const batch = call.dirs.includes('-');
  const takes = batch ? call.dirs.length === 1 && call.key === null && call.anchor === null && !call.complete
    : call.dirs.length > 0;
  return takes || call.help ? call : null;
}

function verify(request) {
  const dir = typeof request.dir === 'string' ? request.dir : null;
  try {
    const { key, anchor, complete } = request;
    const texts = [key, anchor].every((value) => value === undefined || value === null || typeof value === 'string');
    if (dir === null || `${dir}${anchor}`.includes('\0') || !texts || ![undefined, true, false].includes(complete)) {
      throw new CallError('not {"dir", "key", "anchor", "complete"}');
    }
    return { dir, ...verifyFolder({ dir, key: key ?? null, anchor: anchor ?? null, complete: complete ?? false }) };
  } catch (error) {
    if (!(error instanceof CallError)) throw error;
    return { dir, ok: false, error: error.message, findings: [], warnings: [], logs: {}, key_pinned: false };
  }
}

/** The requests on standard input, each as soon as its line is there. */
function* standardInput() {
  const chunk = Buffer.allocUnsafe(65536);
  let rest = Buffer.alloc(0);
  for (;;) {
    const count = readInput(chunk);
    rest = Buffer.concat([rest, chunk.subarray(0, count)]);
    let start = 0;
    for (let end; (end = rest.indexOf(0x0a, start)) >= 0; start = end + 1) {
      yield request(rest.toString('utf8', start, end));
    }
    rest = rest.subarray(start);
    if (rest.length > 1024 * 1024) {
      yield {};
      return;
    }
    if (count === 0) {
      if (rest.length > 0) yield request(rest.toString());
      return;
    }
  }
}

function request(line) {
  try {
    return JSON.parse(line) ?? {};
  } catch (error) {
    if (error instanceof SyntaxError) return {};
    throw error;
  }
}

function readInput(chunk) {
  for (;;) {
    try {
      return fs.readSync(0, chunk);
    } catch (error) {
      if (error.code === 'EOF') return 0;
      if (error.code !== 'EAGAIN') throw error;
      pause();
    }
  }
}

function print(text) {
  let rest = Buffer.from(text);
  while (rest.length > 0) {
    try {
      rest = rest.subarray(fs.writeSync(1, rest));
    } catch (error) {
      if (error.code === 'EPIPE') process.exit(BAD_CALL);
      if (error.code !== 'EAGAIN') throw error;
      pause();
    }
  }
}

/** Input or output that is not ready: wait a little without spinning. */
function pause() {
  Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 5);
}

function forPeople(result) {
  if (result.error !== undefined) return `${printable(result.error)}\n`;
  const lines = [`${printable(result.dir)}: ${result.ok ? 'verifies' : 'DOES NOT VERIFY'}`];
  for (const finding of result.findings) lines.push(`  ${where(finding)}: ${finding.code}: ${finding.text}`);
  for (const warning of result.warnings) lines.push(`  warning: ${where(warning)}: ${warning.code}: ${warning.text}`);
  for (const [log, sizes] of Object.entries(result.logs)) {
    const witnessed = sizes.witnessed ? ' (a witnessed file: only checkpoints that were cosigned)' : '';
    lines.push(`  ${log}: ${sizes.events} lines, ${sizes.signed} signed, ${sizes.cosigned} cosigned${witnessed}`);
  }
  if (!result.key_pinned) lines.push('  no key given: held against itself only (whoever has it may have made it anew)');
  return `${lines.join('\n')}\n`;
}

function where(finding) {
  const log = finding.log === '' ? 'folder' : printable(finding.log);
  const seq = finding.seq === null ? '' : ` (seq ${finding.seq})`;
  return finding.line === 0 ? log : `${log} line ${finding.line}${seq}`;
}

process.exitCode = main(process.argv.slice(2));
