// keys.jsonl and witness.vkeys: who may sign.

import { base64, isTime, LOG_NAME, show, utf8 } from './forms.mjs';
import { integerOf } from './canonical.mjs';
import { object, record } from './fields.mjs';
import { Finding } from './findings.mjs';
import { openLines, Unreadable } from './lines.mjs';
import { addKey, COSIGNATURE, ED25519, Malformed, VerifierKey } from './note.mjs';

const KINDS = {
  device: ['string'],
  new: ['string'],
  old: ['string', 'null'],
  signed_by_new: ['string'],
  signed_by_old: ['string', 'null'],
  sizes: ['object'],
  time: ['string'],
};

/**
 * The keys of a box, as far as they could be read:
 * device  its name, null where not even that is known
 * order   the keys, oldest first; sizes[i] is what was noted when order[i] was rotated away, a Map of log to size
 * named   the same keys, for named()
 * broken  whether there was a finding
 */
export class BoxKeys {
  constructor() {
    this.device = null;
    this.order = [];
    this.sizes = [];
    this.named = new Map();
    this.texts = new Set();
    this.broken = false;
  }
}

/** Reads keys.jsonl to its end and adds its first finding, if any, to the report. */
export function readBoxKeys(path, report) {
  const keys = new BoxKeys();
  let number = 0;
  let lines = null;
  const found = (finding) => {
    if (!keys.broken) report.add(finding, '', number);
    keys.broken = true;
  };
  try {
    lines = openLines(path);
    if (lines === null) throw new Unreadable('is missing');
    while (lines.next()) {
      number += 1;
      try {
        readLine(lines, keys);
      } catch (error) {
        if (!(error instanceof Finding)) throw error;
        found(error);
      }
    }
    number += 1;
    if (lines.torn > 0) found(new Finding('not_canonical', 'keys.jsonl: the last line does not end'));
    else if (number === 1) found(new Finding('bad_field', 'keys.jsonl: there is no line'));
  } catch (error) {
    if (!(error instanceof Unreadable)) throw error;
    number = 0;
    found(new Finding('unreadable', `keys.jsonl: ${error.message}`));
  } finally {
    lines?.close();
  }
  return keys;
}

function readLine(lines, keys) {
  const line = record(lines, KINDS);
  if (!isTime(line.time)) throw new Finding('bad_field', `"time" is no time: ${show(line.time)}`);
  const sizes = readSizes(lines, line.sizes);
  const byNew = readSignature('signed_by_new', line.signed_by_new);
  const byOld = line.signed_by_old === null ? null : readSignature('signed_by_old', line.signed_by_old);
  if (!LOG_NAME.test(line.device)) throw new Finding('bad_field', `"device" is no name: ${show(line.device)}`);
  keys.device ??= line.device;
  if (line.device !== keys.device) throw new Finding('bad_field', `"device" was ${show(keys.device)} before`);

  const key = readKey('new', line.new, keys.device);
  if (keys.texts.has(key.text)) throw new Finding('bad_key', 'the key is in an earlier line already');
  const first = keys.order.length === 0;
  const before = first ? null : keys.order[keys.order.length - 1];
  if (!first) keys.sizes.push(sizes);
  keys.order.push(key); // even if the rest does not hold: to look further into the logs
  keys.texts.add(key.text);
  addKey(keys.named, key);

  if (line.old !== null) readKey('old', line.old, keys.device);
  if (line.old !== (before?.text ?? null)) {
    throw new Finding('bad_rotation', first ? '"old" is not null in the first line' : '"old" is not the key before');
  }
  if (first && sizes.size > 0) throw new Finding('bad_field', '"sizes" is not {} in the first line');
  if (first !== (byOld === null)) {
    throw new Finding('bad_field', `"signed_by_old" is ${first ? 'not ' : ''}null`);
  }
  const message = signedBytes(lines, line);
  if (!key.verifies(message, byNew)) throw new Finding('bad_rotation', '"signed_by_new" does not verify');
  if (!first && !before.verifies(message, byOld)) throw new Finding('bad_rotation', '"signed_by_old" does not verify');
}

/** What both signatures are over. The line is canonical, so the parts of it are too. */
function signedBytes(lines, line) {
  const quoted = (value) => (value === null ? 'null' : JSON.stringify(value)); // keys: no character to escape
  const sizes = lines.bytes.utf8Slice(line.sizes.start, line.sizes.end);
  return Buffer.from(`veil-key/v1\n{"device":${quoted(line.device)},"new":${quoted(line.new)},`
    + `"old":${quoted(line.old)},"sizes":${sizes},"time":${quoted(line.time)}}`);
}

function readSizes(lines, place) {
  const sizes = new Map();
  for (const member of object(lines.bytes, place.start, place.end, Infinity)) {
    if (!LOG_NAME.test(member.name)) throw new Finding('bad_field', '"sizes" names what is no log');
    const size = member.kind === 'integer' ? integerOf(lines.bytes, member) : 0;
    if (size < 1) throw new Finding('bad_field', `"sizes" of ${member.name} is no size`);
    sizes.set(member.name, size);
  }
  return sizes;
}

function readSignature(name, text) {
  const bytes = base64(text);
  if (bytes === null || bytes.length !== 64) throw new Finding('bad_field', `"${name}" is not base64 of 64 bytes`);
  return bytes;
}

function readKey(name, text, device) {
  let key;
  try {
    key = VerifierKey.parse(text);
  } catch (error) {
    if (error instanceof Malformed) throw new Finding('bad_key', `"${name}": ${error.message}`);
    throw error;
  }
  if (key.name !== `veil/${device}`) throw new Finding('bad_key', `"${name}" is not named veil/${show(device)}`);
  if (key.algorithm !== ED25519) throw new Finding('bad_key', `"${name}" is not of algorithm 1`);
  return key;
}

/** Reads witness.vkeys, which may be missing, for named(); adds its first finding to the report. */
export function readWitnesses(path, report) {
  const keys = new Map();
  let number = 0;
  let lines = null;
  try {
    lines = openLines(path);
    while (lines?.next()) {
      number += 1;
      const key = VerifierKey.parse(utf8(lines.bytes.subarray(lines.start, lines.end)) ?? '');
      if (key.algorithm !== COSIGNATURE) throw new Malformed('not of algorithm 4');
      addKey(keys, key);
    }
    number += 1;
    if (lines?.torn > 0) throw new Finding('not_canonical', 'the last line does not end');
  } catch (error) {
    const code = error instanceof Finding ? error.code : error instanceof Unreadable ? 'unreadable'
      : error instanceof Malformed ? 'bad_key' : null;
    if (code === null) throw error;
    report.add(new Finding(code, `witness.vkeys: ${error.message}`), '', code === 'unreadable' ? 0 : number);
  } finally {
    lines?.close();
  }
  return keys;
}
