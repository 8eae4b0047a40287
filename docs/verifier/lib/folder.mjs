// A folder: which logs are in it, and the report over all of them.

import * as fs from 'node:fs';
import * as path from 'node:path';

import { readNote } from './checkpoints.mjs';
import { Finding, Report } from './findings.mjs';
import { LOG_NAME, show, utf8 } from './forms.mjs';
import { readBoxKeys, readWitnesses } from './keys.mjs';
import { readStart, Unreadable } from './lines.mjs';
import { checkAnchor, verifyLog } from './log.mjs';
import { Malformed, MAX_NOTE, parseNote, VerifierKey } from './note.mjs';

const OF_A_LOG = ['events.jsonl', 'checkpoints.jsonl', 'cosigned'];

/** The call itself cannot be taken. */
export class CallError extends Error {}

/**
 * Verifies the folder `dir`: {ok, findings, warnings, logs, key_pinned}. `key` is a pinned verifier key, `anchor` the
 * path of a signed note, both may be null; `complete` demands that all lines are signed. Throws CallError.
 */
export function verifyFolder({ dir, key = null, anchor = null, complete = false }) {
  const report = new Report();
  const pinned = key === null ? null : readPinned(key);
  const kept = anchor === null ? null : readAnchor(anchor);
  const logs = findLogs(dir);
  const single = logs[0].dir === dir;
  if (single && logs.length > 1) report.add(new Finding('bad_field', 'the folder is a log, and folders in it are logs'));
  const beside = (name) => (single && !exists(path.join(dir, name)) ? path.join(path.resolve(dir), '..', name)
    : path.join(dir, name));

  const box = { keys: readBoxKeys(beside('keys.jsonl'), report), witnesses: new Map() };
  if (pinned !== null && !box.keys.texts.has(pinned.text)) {
    report.add(new Finding('untrusted_key', 'the pinned key is not one of keys.jsonl'));
  }
  box.witnesses = readWitnesses(beside('witness.vkeys'), report);
  const anchorFor = kept === null ? null : anchoredLog(kept, box.keys, logs, report);

  const names = new Set(logs.map((log) => log.name));
  const all = [...logs, ...single ? [] : namedOnly(box.keys, names)];
  for (const log of all.sort((left, right) => (left.name < right.name ? -1 : 1))) {
    if (log.dir === null) {
      const text = 'keys.jsonl names checkpoints of this log, and the log is not there';
      report.add(new Finding('retired_key', text), log.name);
    } else if (!LOG_NAME.test(log.name)) {
      report.add(new Finding('bad_field', `a folder with a log and the name ${show(log.name)}`), log.name);
    } else {
      verifyLog(log.dir, log.name, box, log.name === anchorFor ? kept.note : null, complete, report);
    }
  }
  const { findings, warnings } = report;
  return { ok: findings.length === 0, findings, warnings, logs: report.logs, key_pinned: pinned !== null };
}

/** {name, dir} of each log: the folder itself, or those in it. Throws CallError. */
function findLogs(dir) {
  const here = OF_A_LOG.some((file) => exists(path.join(dir, file)));
  let names;
  try {
    names = fs.readdirSync(dir, { encoding: 'buffer' });
  } catch (error) {
    throw new CallError(`${dir}: cannot be read (${error.code})`);
  }
  const logs = here ? [{ name: path.basename(path.resolve(dir)), dir }] : [];
  for (const bytes of names) {
    const child = Buffer.concat([Buffer.from(`${dir}/`), bytes]);
    if (OF_A_LOG.some((file) => exists(Buffer.concat([child, Buffer.from(`/${file}`)])))) {
      logs.push({ name: utf8(bytes) ?? bytes.toString(), dir: child.toString() });
    }
  }
  if (logs.length === 0) throw new CallError(`${dir}: no log in it`);
  return logs;
}

function exists(file) {
  try {
    fs.lstatSync(file);
    return true;
  } catch (error) {
    return error.code === 'EACCES'; // there may be something that we may not see
  }
}

/** Logs that a rotation names and that have no folder. */
function namedOnly(keys, names) {
  const missing = new Set(keys.broken ? [] : keys.sizes.flatMap((sizes) => [...sizes.keys()]));
  return [...missing].filter((name) => !names.has(name)).map((name) => ({ name, dir: null }));
}

function readPinned(text) {
  try {
    return VerifierKey.parse(text.trim());
  } catch (error) {
    if (error instanceof Malformed) throw new CallError(`the pinned key: ${error.message}`);
    throw error;
  }
}

/** The anchor file: {note, finding}, one of them null. Throws CallError where it is no signed note at all. */
function readAnchor(file) {
  try {
    const bytes = readStart(file, MAX_NOTE + 1);
    if (bytes === null) throw new Malformed('is missing');
    const text = utf8(bytes);
    if (text === null) throw new Malformed('not UTF-8');
    parseNote(text);
    return { note: readNote(text), finding: null };
  } catch (error) {
    if (error instanceof Finding) return { note: null, finding: error };
    if (error instanceof Malformed || error instanceof Unreadable) throw new CallError(`${file}: ${error.message}`);
    throw error;
  }
}

/** The name of the log that the anchor is for, if it is here; else null and a finding. */
function anchoredLog(kept, keys, logs, report) {
  let name = '';
  try {
    if (kept.note === null) throw kept.finding;
    const parts = /^veil\/.+\/([^/]+)$/.exec(kept.note.origin);
    if (parts !== null && LOG_NAME.test(parts[1])) [, name] = parts;
    if (logs.some((log) => log.name === name)) return name;
    checkAnchor(kept.note, name, { keys });
    throw new Finding('missing_events', 'the log that was signed is not there');
  } catch (error) {
    if (!(error instanceof Finding)) throw error;
    report.add(new Finding(error.code, `anchor: ${error.message}`), name);
    return null;
  }
}
