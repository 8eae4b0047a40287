// A file, line by line, in memory that does not grow with the file.

import * as fs from 'node:fs';

const CHUNK = 256 * 1024; // bytes; much more than a line may have
const NEWLINE = 0x0a;
const spare = []; // buffers of CHUNK + 2 bytes, used again by the next file

/** A file that must exist is missing, or cannot be read. */
export class Unreadable extends Error {}

/** Opens a regular file; null where there is none. A link to nothing is something. Throws Unreadable. */
export function openRegular(path) {
  let fd;
  try {
    fd = fs.openSync(path, fs.constants.O_RDONLY | fs.constants.O_NONBLOCK); // a pipe must not hold us up
  } catch (error) {
    if (error.code === 'ENOENT' && fs.lstatSync(path, { throwIfNoEntry: false }) === undefined) return null;
    throw new Unreadable(`cannot be opened (${error.code})`);
  }
  try {
    if (!fs.fstatSync(fd).isFile()) throw new Unreadable('is not a file');
  } catch (error) {
    fs.closeSync(fd);
    throw error;
  }
  return fd;
}

/** The first `limit` bytes of a file; null where there is none. Throws Unreadable. */
export function readStart(path, limit) {
  const fd = openRegular(path);
  if (fd === null) return null;
  const bytes = Buffer.allocUnsafe(limit);
  let length = 0;
  try {
    for (let count = -1; count !== 0 && length < limit; length += count) {
      count = fs.readSync(fd, bytes, length, limit - length, null);
    }
    return bytes.subarray(0, length);
  } catch (error) {
    throw new Unreadable(`cannot be read (${error.code})`);
  } finally {
    fs.closeSync(fd);
  }
}

/**
 * Lines of an open file, which it closes. After next() returned true the line is bytes[start..end), without its
 * newline (which stands at bytes[end]); it is gone with the next call. bytes[start - 1] may be written to. A line
 * that does not fit is stepped over: `tooLong` is true and start..end is empty. After next() returned false `torn` is
 * the number of bytes behind the last newline. next() throws Unreadable.
 */
export class Lines {
  constructor(fd) {
    this.fd = fd;
    this.bytes = spare.pop() ?? Buffer.allocUnsafe(CHUNK + 2);
    this.start = 1;
    this.end = 0; // of the line; the next one starts behind it
    this.filled = 1;
    this.torn = 0;
    this.tooLong = false;
    this.ended = false;
    this.bytes[1] = NEWLINE;
  }

  next() {
    if (this.ended) return false;
    this.tooLong = false;
    this.start = this.end + 1;
    let from = this.start;
    for (;;) {
      const found = this.bytes.indexOf(NEWLINE, from); // there always is one, at `filled`
      if (found < this.filled) {
        this.end = found;
        return true;
      }
      from = this.filled - this.start;
      if (from === CHUNK) return this.stepOver();
      const count = this.fill();
      if (count === 0) {
        this.torn = this.filled - this.start;
        this.ended = true;
        return false;
      }
      from += this.start;
    }
  }

  close() {
    if (this.fd === null) return;
    fs.closeSync(this.fd);
    this.fd = null;
    spare.push(this.bytes);
    this.bytes = null;
  }

  /** Reads on behind the bytes that are not used yet, which move to the front. */
  fill() {
    const unused = this.filled - this.start;
    if (this.start !== 1) this.bytes.copyWithin(1, this.start, this.filled);
    this.start = 1;
    this.filled = 1 + unused;
    const count = this.read(this.filled);
    this.filled += count;
    this.bytes[this.filled] = NEWLINE;
    return count;
  }

  read(at) {
    try {
      return fs.readSync(this.fd, this.bytes, at, CHUNK + 1 - at, null);
    } catch (error) {
      throw new Unreadable(`cannot be read (${error.code})`);
    }
  }

  stepOver() {
    let length = this.filled - this.start;
    this.start = 1;
    for (;;) {
      const count = this.read(1);
      this.filled = 1 + count;
      this.bytes[this.filled] = NEWLINE;
      const found = this.bytes.indexOf(NEWLINE, 1);
      if (found < this.filled) {
        this.start = found;
        this.end = found;
        this.tooLong = true;
        return true;
      }
      length += count;
      if (count === 0) {
        this.torn = length;
        this.ended = true;
        return false;
      }
    }
  }
}

/** Opens a file for Lines; null where there is none. Throws Unreadable. */
export function openLines(path) {
  const fd = openRegular(path);
  return fd === null ? null : new Lines(fd);
}
