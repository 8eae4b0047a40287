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
    return { written: note, text, signatures, ...parseCheckpoint(text) };
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

/** Each signature line must be of a witness. Throws Finding: unknown_key, bad_signature. */
export function checkCosignatures(witnesses, text, signatures) {
  for (const signature of signatures) {
    const candidates = named(witnesses, signature);
    if (candidates.length === 0) throw new Finding('unknown_key', 'cosigned with a key that is not in witness.vkeys');
    if (!candidates.some((key) => key.cosigned(text, signature.bytes))) {
      throw new Finding('bad_signature', 'the cosignature does not verify');
    }
  }
}

/** Throws Finding: wrong_origin. */
export function checkOrigin(keys, log, origin) {
  const fits = keys.device === null ? origin.startsWith('veil/') && origin.endsWith(`/${log}`)
    : origin === `veil/${keys.device}/${log}`;
  if (!fits) {
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

/**
 * Goes through checkpoints.jsonl, taking `events` along; keeps the first finding for tell(). `cosigned` is the note
 * to look for, or null.
 */
export class Checkpoints {
  constructor(log, box, events, cosigned) {
    Object.assign(this, { log, keys: box.keys, witnesses: box.witnesses, events, cosigned });
    this.hasCosigned = false;
    this.witnessed = false; // only checkpoints with the signatures of witnesses, not all that there were
    this.number = 0;
    this.size = '0'; // of the last good checkpoint
    this.previous = Buffer.alloc(32);
    this.key = 0; // index of the key that signs
    this.signed = false; // with this key, at least once
    this.finding = null;
    this.line = 0;
  }

  read(path) {
    let lines = null;
    try {
      lines = openLines(path);
      if (lines === null) throw new Unreadable('is missing');
      while (lines.next()) {
        this.number += 1;
        const { note } = record(lines, { note: ['string'] });
        this.check(note);
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
    const [first, ...cosignatures] = note.signatures;
    if (this.number === 1) this.witnessed = cosignatures.length > 0;
    if (this.witnessed !== cosignatures.length > 0) {
      throw new Finding('bad_checkpoint', this.witnessed ? 'no signature line of a witness, in a witnessed file'
        : 'not exactly one signature line');
    }
    checkOrigin(this.keys, this.log, note.origin);
    const key = signer(this.keys, note.text, first);
    checkCosignatures(this.witnesses, note.text, cosignatures);
    if (key !== null) this.signedWith(this.keys.order.indexOf(key), note.size);
    if (note.size === '0') throw new Finding('checkpoint_order', 'the size is 0');
    if (compareSizes(note.size, this.size) <= 0) {
      throw new Finding('checkpoint_order', `the size, ${note.size.slice(0, 20)}, is not over ${this.size}`);
    }
    if (!this.witnessed && !note.previous.equals(this.previous)) {
      throw new Finding('checkpoint_order', '"previous" is not the checkpoint before');
    }
    this.events.advance(Number(note.size));
    if (!this.events.lost) checkRoot(note.size, this.events.tree.root(), this.events.count, note.root);
    this.size = note.size;
    this.previous = sha256(Buffer.from(note.text));
    this.compare(note);
  }

  /** Is this the cosigned note? In a witnessed file the last one must be it. */
  compare(note) {
    if (this.cosigned === null) return;
    if (this.witnessed) this.hasCosigned = note.written === this.cosigned.written;
    else if (boxNote(note) === boxNote(this.cosigned)) this.hasCosigned = true;
  }

  /** Throws Finding: retired_key. */
  signedWith(key, size) {
    if (this.keys.broken) return; // their order is not known
    if (key < this.key) throw new Finding('retired_key', 'signed with a key that a later one had followed already');
    this.rotate(key);
    const last = this.keys.sizes[key]; // of a key that is not rotated away: undefined
    if (last === undefined) return;
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
      if (this.keys.broken || this.witnessed || last === undefined) continue;
      if (!this.signed || this.size !== String(last)) {
        throw new Finding('retired_key', `the last checkpoint under a rotated key is not of size ${last}`);
      }
    }
  }

  tell(report) {
    if (this.finding !== null) report.add(this.finding, this.log, this.line);
  }
}

/** A note without what witnesses added to it. */
function boxNote(note) {
  return `${note.text}\n${note.signatures[0].line}\n`;
}
