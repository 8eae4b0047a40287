// Forms of the values that stand in the lines, keys and notes.

const TIME = /^([0-9]{4})-(0[1-9]|1[0-2])-([0-9]{2})T([01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9]\.[0-9]{6}Z$/;
const DAYS = [31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];

export const LOG_NAME = /^[a-z0-9][a-z0-9_-]{0,31}$/;

/** Whether a string is a time of the format, of a day that the calendar has. */
export function isTime(text) {
  const parts = TIME.exec(text);
  if (parts === null) return false;
  const [year, month, day] = parts.slice(1, 4).map(Number);
  const leap = year % 4 === 0 && (year % 100 !== 0 || year % 400 === 0);
  return year >= 1 && day >= 1 && day <= DAYS[month - 1] + (month === 2 && leap ? 1 : 0);
}

/** The bytes of padded, canonical base64; null where the text is none. */
export function base64(text) {
  if (text.length % 4 !== 0) return null;
  const bytes = Buffer.from(text, 'base64');
  return bytes.toString('base64') === text ? bytes : null;
}

/** A text as UTF-8, a byte order mark kept; null where the bytes are none. */
export function utf8(bytes) {
  try {
    return new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes);
  } catch (error) {
    if (error instanceof TypeError) return null;
    throw error;
  }
}

/** A value as it may be shown on a terminal: quoted, short, printable ASCII. */
export function show(value) {
  const text = String(value);
  return printable(JSON.stringify(text.length > 80 ? `${text.slice(0, 80)}...` : text));
}

export function printable(text) {
  return text.replace(/[^\x20-\x7e]/g, (unit) => `\\u${unit.charCodeAt(0).toString(16).padStart(4, '0')}`);
}
