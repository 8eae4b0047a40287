// NAME/checkpoints.jsonl: the signed heads, against the keys and the lines.

import { record } from './fields.mjs';
import { Finding } from './findings.mjs';
import { openLines, Unreadable } from './lines.mjs';
import { compareSizes, Malformed, named, parseCheckpoint, parseNote } from './note.mjs';
import { sha256 } from './tree.mjs';

/** Reads a note whose text is a checkpoint. Throws Finding: bad_checkpoint. */
export function readNote(note) {
  try {
    const { text, signatures } = parseNote(note);
    return { text, signatures, ...parseCheckpoint(text) };
  } catch (error) {
    if (error instanceof Malformed) throw new Finding('bad_checkpoint', error.message);
    throw error;
  }
}

/**
 * The key that made a signature line; null where the keys could not be read in full and it may be one of those.
 * Throws Finding: unknown_key, bad_signature.
 */
export function signer(keys, text, signature) {
  const candidates = named(keys.named, signature);
  if (candidates.length === 0) {
    if (keys.broken) return null;
    throw new Finding('unknown_key', 'signed with a key that is not in keys.jsonl');
  }
  const message = Buffer.from(text);
  const key = candidates.find((candidate) => candidate.verifies(message, signature.bytes));
  if (key === undefined) throw new Finding('bad_signature', 'the signature does not verify');
  return key;
}

/** Throws Finding: wrong_origin. */
export function checkOrigin(keys, log, origin) {
  if (keys.device !== null && origin !== `veil/${keys.device}/${log}`) {
    throw new Finding('wrong_origin', `the origin is not veil/DEVICE/${log} of this box`);
  }
}

/** Throws Finding: missing_events, wrong_root. `root` is that of the log's first `size` lines. */
export function checkRoot(size, root, count, noted) {
  if (compareSizes(size, String(count)) > 0) {
    throw new Finding('missing_events', `the log has ${count} lines, fewer than were signed`);
  }
  if (!root.equals(noted)) throw new Finding('wrong_root', `the first ${size} lines are not those that were signed`);
}

/** Goes through checkpoints.jsonl, taking `events` along; keeps the first finding for tell(). */
export class Checkpoints {
  constructor(log, keys, events) {
    Object.assign(this, { log, keys, events });
    this.number = 0;
    this.size = '0'; // of the last good checkpoint
    this.previous = Buffer.alloc(32);
    this.key = 0; // index of the key that signs
    this.signed = false; // with this key, at least once
    this.finding = null;
    this.line = 0;
  }

  /** `wanted`: notes (text, empty line, box's signature line) to look for; those that are there are taken away. */
  read(path, wanted) {
    let lines = null;
    try {
      lines = openLines(path);
      if (lines === null) throw new Unreadable('is missing');
      while (lines.next()) {
        this.number += 1;
        const { note } = record(lines, { note: ['string'] });
        this.check(note);
        wanted.delete(note);
      }
      if (lines.torn > 0) {
        this.number += 1;
        throw new Finding('not_canonical', 'checkpoints.jsonl: the last line does not end');
      }
      this.rotate(this.keys.order.length - 1);
    } catch (error) {
      if (error instanceof Finding) Object.assign(this, { finding: error, line: this.number });
      else if (!(error instanceof Unreadable)) throw error;
      else this.finding = new Finding('unreadable', `checkpoints.jsonl: ${error.message}`);
    } finally {
      lines?.close();
    }
  }

  check(written) {
    const note = readNote(written);
    if (note.signatures.length !== 1) throw new Finding('bad_checkpoint', 'not exactly one signature line');
    checkOrigin(this.keys, this.log, note.origin);
    const key = signer(this.keys, note.text, note.signatures[0]);
    if (key !== null) this.signedWith(this.keys.order.indexOf(key), note.size);
    if (note.size === '0') throw new Finding('checkpoint_order', 'the size is 0');
    if (compareSizes(note.size, this.size) <= 0) {
      throw new Finding('checkpoint_order', `the size, ${note.size.slice(0, 20)}, is not over ${this.size}`);
    }
    if (!note.previous.equals(this.previous)) {
      throw new Finding('checkpoint_order', '"previous" is not the checkpoint before');
    }
    this.events.advance(Number(note.size));
    if (!this.events.lost) checkRoot(note.size, this.events.tree.root(), this.events.count, note.root);
    this.size = note.size;
    this.previous = sha256(Buffer.from(note.text));
  }

  /** Throws Finding: retired_key. */
  signedWith(key, size) {
    if (key < this.key) throw new Finding('retired_key', 'signed with a key that a later one had followed already');
    this.rotate(key);
    const last = this.keys.sizes[key]; // of a key that is not rotated away: undefined
    if (last === undefined || this.keys.broken) return;
    if (!last.has(this.log)) throw new Finding('retired_key', 'the rotation names no checkpoint under this key');
    if (compareSizes(size, String(last.get(this.log))) > 0) {
      throw new Finding('retired_key', 'the size is over that at which the key was rotated away');
    }
    this.signed = true;
  }

  /** Goes on to a later key: what was signed before must be what the rotations name. Throws Finding: retired_key. */
  rotate(key) {
    for (; this.key < key; this.key += 1, this.signed = false) {
      const last = this.keys.sizes[this.key]?.get(this.log);
      if (this.keys.broken || last === undefined) continue;
      if (!this.signed || this.size !== String(last)) {
        throw new Finding('retired_key', `the last checkpoint under a rotated key is not of size ${last}`);
      }
    }
  }

  tell(report) {
    if (this.finding !== null) report.add(this.finding, this.log, this.line);
  }
}
