// NAME/events.jsonl: the lines, their chain and their tree.

import { isTime, show } from './forms.mjs';
import { record } from './fields.mjs';
import { Finding } from './findings.mjs';
import { openLines, Unreadable } from './lines.mjs';
import { sha256, Tree } from './tree.mjs';

const KINDS = {
  data: ['object'],
  kind: ['string'],
  log: ['string'],
  prev: ['string'],
  seq: ['integer'],
  time: ['string'],
};
const KIND = /^[a-z][a-z0-9_]{0,63}$/;
const HASH = /^[0-9a-f]{64}$/;
const NO_HASH = '0'.repeat(64);

/**
 * Follows one log. `wanted` holds sizes (decimal digits); their roots are in `roots` once the log has grown to them.
 * Keeps the first finding for tell() and goes on: the tree is over whatever bytes are there.
 */
export class Events {
  constructor(path, log, wanted) {
    this.log = log;
    this.finding = null;
    this.line = 0;
    this.seq = null;
    this.tree = new Tree();
    this.roots = new Map(wanted.map((size) => [size, null]));
    this.before = NO_HASH; // leaf hash of the line before
    this.lost = false; // a line could not be hashed: no root from here on
    this.lines = null;
    this.reading(() => {
      this.lines = openLines(path);
      if (this.lines === null) throw new Unreadable('is missing');
    });
  }

  get count() {
    return this.tree.size;
  }

  /** Goes on to `size` lines, or to the last one. */
  advance(size) {
    this.reading(() => {
      while (!this.lost && this.count < size && this.lines.next()) this.take();
    });
  }

  /** Says what was found, and what is behind the last line. */
  tell(report) {
    if (this.finding !== null) report.add(this.finding, this.log, this.line, this.seq);
    if (this.lost || this.lines.torn === 0) return;
    report.warn('torn_line', this.log, this.count + 1, `${this.lines.torn} bytes behind the last newline`);
  }

  close() {
    this.lines?.close();
  }

  take() {
    const lines = this.lines;
    if (this.finding === null) {
      try {
        this.check(record(lines, KINDS));
      } catch (error) {
        if (!(error instanceof Finding)) throw error;
        this.found(error, this.count + 1, this.count);
      }
    }
    if (lines.tooLong) {
      this.lost = true;
      return;
    }
    lines.bytes[lines.start - 1] = 0x00;
    const leaf = sha256(lines.bytes.subarray(lines.start - 1, lines.end));
    if (this.finding === null) this.before = leaf.toString('hex');
    this.tree.append(leaf);
    if (this.roots.size > 0 && this.roots.has(String(this.count))) this.roots.set(String(this.count), this.tree.root());
  }

  check(event) {
    if (!KIND.test(event.kind)) throw new Finding('bad_field', `"kind" is ${show(event.kind)}`);
    if (!HASH.test(event.prev)) throw new Finding('bad_field', '"prev" is not 64 lower-case hex digits');
    if (!isTime(event.time)) throw new Finding('bad_field', `"time" is no time: ${show(event.time)}`);
    if (event.log !== this.log) throw new Finding('wrong_log', `"log" is ${show(event.log)}`);
    if (event.seq !== this.count) throw new Finding('wrong_sequence', `"seq" is ${event.seq}, not ${this.count}`);
    if (event.prev !== this.before) {
      throw new Finding('broken_chain', this.count === 0 ? '"prev" of the first line is not zeros'
        : '"prev" is not the leaf hash of the line before');
    }
  }

  found(finding, line, seq) {
    if (this.finding === null) Object.assign(this, { finding, line, seq });
  }

  reading(read) {
    try {
      read();
    } catch (error) {
      if (!(error instanceof Unreadable)) throw error;
      this.lost = true;
      this.found(new Finding('unreadable', `events.jsonl: ${error.message}`), 0, null);
    }
  }
}
