// Verifier keys and signed notes (C2SP signed-note), and the checkpoints that are written in them.

import * as crypto from 'node:crypto';

import { base64, isTime } from './forms.mjs';
import { sha256 } from './tree.mjs';

export const ED25519 = 0x01;
export const COSIGNATURE = 0x04;
export const MAX_NOTE = 8192; // bytes
const SPKI = Buffer.from('302a300506032b6570032100', 'hex'); // what goes before 32 bytes of an Ed25519 key
// No key's name has any of these: "+", control characters, the white space of Unicode.
const NOT_IN_NAMES = /[+\u0000-\u0020\u0085\u00a0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000]/;

/** A text is no verifier key, signed note or checkpoint. */
export class Malformed extends Error {}

export class VerifierKey {
  constructor(text, name, id, algorithm, publicKey) {
    Object.assign(this, { text, name, id, algorithm, publicKey, handle: null });
  }

  /** Reads NAME+ID+BASE64. Throws Malformed. */
  static parse(text) {
    const parts = /^([^+]+)\+([0-9a-f]{8})\+([A-Za-z0-9+/=]{44})$/.exec(text);
    const bytes = parts === null ? null : base64(parts[3]);
    if (bytes === null || bytes.length !== 33 || NOT_IN_NAMES.test(parts[1])) {
      throw new Malformed('not NAME+ID+BASE64 of 33 bytes');
    }
    const [, name, id] = parts;
    if (sha256(Buffer.concat([Buffer.from(`${name}\n`), bytes])).toString('hex', 0, 4) !== id) {
      throw new Malformed('the ID is not that of the key');
    }
    return new VerifierKey(text, name, id, bytes[0], bytes.subarray(1));
  }

  /** Whether 64 bytes are this key's Ed25519 signature of the message. */
  verifies(message, signature) {
    if (signature.length !== 64) return false;
    try {
      this.handle ??= crypto.createPublicKey({
        key: Buffer.concat([SPKI, this.publicKey]), format: 'der', type: 'spki',
      });
      return crypto.verify(null, message, this.handle, signature);
    } catch {
      return false; // 32 bytes that are no point of the curve
    }
  }

  /** Whether bytes of a witness, 8 of time and 64 of signature, are this key's cosignature of a note's text. */
  cosigned(text, timeAndSignature) {
    if (timeAndSignature.length !== 72) return false;
    const message = `cosignature/v1\ntime ${timeAndSignature.readBigUInt64BE(0)}\n${text}`;
    return this.verifies(Buffer.from(message), timeAndSignature.subarray(8));
  }
}

/** Reads a signed note: {text, signatures: [{name, id, bytes, line}]}. Throws Malformed. */
export function parseNote(note) {
  if (Buffer.byteLength(note) > MAX_NOTE) throw new Malformed(`over ${MAX_NOTE} bytes`);
  if (/[\u0000-\u0009\u000b-\u001f]/.test(note)) throw new Malformed('control characters in a note');
  const gap = note.lastIndexOf('\n\n');
  if (gap < 0 || !note.endsWith('\n')) throw new Malformed('not a text, an empty line and signature lines');
  const lines = note.slice(gap + 2, -1).split('\n');
  return { text: note.slice(0, gap + 1), signatures: lines.map(parseSignature) };
}

function parseSignature(line) {
  const parts = /^\u2014 ([^ ]+) ([A-Za-z0-9+/=]+)$/.exec(line);
  const bytes = parts === null ? null : base64(parts[2]);
  if (bytes === null || bytes.length < 5 || NOT_IN_NAMES.test(parts[1])) {
    throw new Malformed('a signature line that is not "\u2014 NAME BASE64"');
  }
  return { name: parts[1], id: bytes.toString('hex', 0, 4), bytes: bytes.subarray(4), line };
}

/** Reads a checkpoint's text: {origin, size, root, previous}; size in decimal digits. Throws Malformed. */
export function parseCheckpoint(text) {
  const lines = text.split('\n');
  if (lines.length !== 6) throw new Malformed('not five lines of text');
  const [origin, size, root, time, previous] = lines;
  if (!/^(0|[1-9][0-9]{0,15})$/.test(size)) throw new Malformed('a size that is not decimal, or too large');
  if (!time.startsWith('time ') || !isTime(time.slice(5))) throw new Malformed('a time that is not one');
  if (!previous.startsWith('previous ')) throw new Malformed('no line "previous"');
  return { origin, size, root: hash(root), previous: hash(previous.slice(9)) };
}

function hash(text) {
  const bytes = base64(text);
  if (bytes === null || bytes.length !== 32) throw new Malformed('a hash that is not base64 of 32 bytes');
  return bytes;
}

/** Compares two sizes in decimal digits: negative, 0 or positive. */
export function compareSizes(left, right) {
  return left.length - right.length || (left < right ? -1 : left > right ? 1 : 0);
}

/** The keys among `keys` that a signature line names. Ids have 32 bits only, so there may be more than one. */
export function named(keys, signature) {
  return keys.get(`${signature.name}+${signature.id}`) ?? [];
}

/** Adds a key to a map for named(). */
export function addKey(keys, key) {
  const name = `${key.name}+${key.id}`;
  keys.set(name, [...(keys.get(name) ?? []), key]);
}
