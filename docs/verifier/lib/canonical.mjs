// One line of a .jsonl file, byte by byte: is it an object in canonical form (RFC 8785), of the values that the
// format allows? No JSON.parse: that would forget how a number or a string was written.

export const MAX_DEPTH = 32;
const MAX_MEMBERS = 16; // more than any object whose members are looked at

/** Thrown; no Error, as a hostile file has one in each line. */
export class NotCanonical {
  constructor(message) {
    this.message = message;
  }
}

const QUOTE = 0x22, BACKSLASH = 0x5c, COMMA = 0x2c, COLON = 0x3a, MINUS = 0x2d, ZERO = 0x30, NINE = 0x39;
const OPEN_OBJECT = 0x7b, CLOSE_OBJECT = 0x7d, OPEN_ARRAY = 0x5b, CLOSE_ARRAY = 0x5d;
const LARGEST = '9007199254740991';
const SHORT_ESCAPES = new Set(Buffer.from('"\\bfnrt'));
// Control characters that have a short escape, so that \u00.. is not canonical for them: \b \t \n \f \r.
const HAS_SHORT = new Set([0x08, 0x09, 0x0a, 0x0c, 0x0d]);

/**
 * The members of the object written in bytes[start..end), in order: {name, kind, start, end}, kind one of 'string',
 * 'integer', 'null', 'array', 'object', start and end of the value's bytes. At most the first 16 are returned and
 * all are checked. Throws NotCanonical.
 */
export function readObject(bytes, start, end, maxMembers = MAX_MEMBERS) {
  return new Scanner(bytes, start, end, maxMembers).object();
}

/** The string that a member of kind 'string' holds. */
export function stringOf(bytes, member) {
  return unescape(bytes.utf8Slice(member.start + 1, member.end - 1));
}

/** The number that a member of kind 'integer' holds; exact, as its absolute value is below 2^53. */
export function integerOf(bytes, member) {
  return Number(bytes.latin1Slice(member.start, member.end));
}

class Scanner {
  constructor(bytes, start, end, maxMembers) {
    this.bytes = bytes;
    this.start = start;
    this.pos = start;
    this.end = end;
    this.maxMembers = maxMembers;
    this.members = [];
    this.closers = []; // of the objects and arrays that are open, outermost first
    this.lastKeys = []; // of each of them: the last key, null before the first and in arrays
  }

  object() {
    if (this.peek() !== OPEN_OBJECT) this.fail('not an object');
    this.push(CLOSE_OBJECT);
    if (this.peek() === CLOSE_OBJECT) this.pop();
    else this.key();
    while (this.closers.length > 0) {
      this.value();
      while (this.closers.length > 0 && !this.another());
    }
    if (this.pos !== this.end) this.fail('bytes behind the object');
    return this.members;
  }

  /** Steps over a comma (true: a value follows) or over the end of an object or array (false). */
  another() {
    const byte = this.peek();
    const closer = this.closers[this.closers.length - 1];
    if (byte === COMMA) {
      this.pos += 1;
      if (closer === CLOSE_OBJECT) this.key();
      return true;
    }
    if (byte !== closer) this.fail('neither a comma nor the end of an object or array');
    this.pop();
    return false;
  }

  /** Steps over one value; of an object or array that is not empty, over its opening (and first key) only. */
  value() {
    for (;;) {
      const byte = this.peek();
      if (byte === OPEN_OBJECT || byte === OPEN_ARRAY) {
        const closer = byte + 2;
        this.push(closer);
        if (this.peek() === closer) {
          this.pop();
          return;
        }
        if (closer === CLOSE_OBJECT) this.key();
      } else {
        const start = this.pos;
        if (byte === QUOTE) {
          this.string(false);
          this.done('string', start);
        } else if (byte === MINUS || (byte >= ZERO && byte <= NINE)) {
          this.integer();
          this.done('integer', start);
        } else if (this.bytes.latin1Slice(start, Math.min(start + 4, this.end)) === 'null') {
          this.pos += 4;
          this.done('null', start);
        } else {
          this.fail('no string, integer, null, array or object');
        }
        return;
      }
    }
  }

  key() {
    if (this.peek() !== QUOTE) this.fail('not a key');
    const start = this.pos;
    const escaped = this.string(true);
    let name = this.bytes.latin1Slice(start + 1, this.pos - 1);
    if (escaped) name = unescape(name);
    const level = this.lastKeys.length - 1;
    const before = this.lastKeys[level];
    if (before !== null && !(before < name)) {
      this.fail(before === name ? 'a key that appears twice' : 'keys that are not in order');
    }
    this.lastKeys[level] = name;
    if (this.peek() !== COLON) this.fail('no colon behind a key');
    this.pos += 1;
    if (level === 0 && this.members.length < this.maxMembers) {
      this.members.push({ name, kind: '', start: this.pos, end: 0 });
    }
  }

  /** Steps over a string; says whether there are escapes in it. */
  string(asciiOnly) {
    const { bytes, end } = this;
    let pos = this.pos + 1;
    let escaped = false;
    for (;;) {
      if (pos >= end) this.fail('a string without an end');
      const byte = bytes[pos];
      if (byte === QUOTE) break;
      if (byte === BACKSLASH) {
        escaped = true;
        pos = this.escape(pos);
      } else if (byte < 0x20) {
        this.fail('a control character that is not escaped');
      } else if (byte < 0x80) {
        pos += 1;
      } else {
        if (asciiOnly) this.fail('a key that is not ASCII');
        pos = this.multibyte(pos);
      }
    }
    this.pos = pos + 1;
    return escaped;
  }

  escape(pos) {
    if (pos + 1 < this.end && SHORT_ESCAPES.has(this.bytes[pos + 1])) return pos + 2;
    const written = this.bytes.latin1Slice(pos, Math.min(pos + 6, this.end));
    if (!/^\\u00[01][0-9a-f]$/.test(written) || HAS_SHORT.has(parseInt(written.slice(2), 16))) {
      this.fail('an escape that is not canonical');
    }
    return pos + 6;
  }

  /** Steps over one UTF-8 sequence of two to four bytes: shortest form, no surrogate, not over U+10FFFF. */
  multibyte(pos) {
    const first = this.bytes[pos];
    const length = first >= 0xc2 && first <= 0xdf ? 2 : first >= 0xe0 && first <= 0xef ? 3
      : first >= 0xf0 && first <= 0xf4 ? 4 : 0;
    if (length === 0 || pos + length > this.end) this.fail('not UTF-8');
    const second = this.bytes[pos + 1];
    const low = first === 0xe0 ? 0xa0 : first === 0xf0 ? 0x90 : 0x80;
    const high = first === 0xed ? 0x9f : first === 0xf4 ? 0x8f : 0xbf;
    if (second < low || second > high) this.fail('not UTF-8');
    for (let i = 2; i < length; i += 1) {
      if ((this.bytes[pos + i] & 0xc0) !== 0x80) this.fail('not UTF-8');
    }
    return pos + length;
  }

  integer() {
    const { bytes, end } = this;
    const negative = bytes[this.pos] === MINUS;
    const digits = this.pos + (negative ? 1 : 0);
    let pos = digits;
    while (pos < end && bytes[pos] >= ZERO && bytes[pos] <= NINE) pos += 1;
    const length = pos - digits;
    if (length === 0) this.fail('a minus without a number');
    if (bytes[digits] === ZERO && (length > 1 || negative)) this.fail('an integer that is not canonical');
    if (length > 16 || (length === 16 && bytes.latin1Slice(digits, pos) > LARGEST)) {
      this.fail('an integer of 2^53 or more');
    }
    this.pos = pos;
  }

  push(closer) {
    if (this.closers.length === MAX_DEPTH) this.fail(`nested over ${MAX_DEPTH} deep`);
    this.pos += 1;
    this.closers.push(closer);
    this.lastKeys.push(null);
  }

  pop() {
    this.pos += 1;
    const closer = this.closers.pop();
    this.lastKeys.pop();
    this.done(closer === CLOSE_OBJECT ? 'object' : 'array');
  }

  /** Notes the end of a value, if it is one of the outermost object's and still among those returned. */
  done(kind) {
    if (this.closers.length !== 1) return;
    const member = this.members[this.members.length - 1];
    if (member !== undefined && member.end === 0) {
      member.kind = kind;
      member.end = this.pos;
    }
  }

  peek() {
    return this.pos < this.end ? this.bytes[this.pos] : -1;
  }

  fail(what) {
    throw new NotCanonical(`${what} (byte ${this.pos - this.start + 1})`);
  }
}

/** What stands between the quotes of a string that has been checked; its escapes are those of any JSON reader. */
function unescape(written) {
  return written.includes('\\') ? JSON.parse(`"${written}"`) : written;
}
