// A line as a record: canonical, with exactly the keys it must have, each of the right type.

import { NotCanonical, integerOf, readObject, stringOf } from './canonical.mjs';
import { Finding } from './findings.mjs';

const MAX_LINE = 16_384; // bytes before the newline

/**
 * The values of one line of `lines`. `kinds` names the keys, in order, each with the kinds that it may be of:
 * strings, integers and null come as such, arrays and objects as their members' place {start, end}.
 * Throws Finding: not_canonical or bad_field.
 */
export function record(lines, kinds) {
  if (lines.tooLong || lines.end - lines.start > MAX_LINE) {
    throw new Finding('not_canonical', `a line of over ${MAX_LINE} bytes`);
  }
  const members = object(lines.bytes, lines.start, lines.end);
  const values = {};
  let i = 0;
  for (const name in kinds) {
    const member = members[i];
    if (member === undefined || member.name !== name) break;
    if (!kinds[name].includes(member.kind)) throw new Finding('bad_field', `"${name}" is of type ${member.kind}`);
    values[name] = member.kind === 'string' ? stringOf(lines.bytes, member)
      : member.kind === 'integer' ? integerOf(lines.bytes, member)
        : member.kind === 'null' ? null : member;
    i += 1;
  }
  const names = Object.keys(kinds);
  if (i !== names.length || members.length !== names.length) {
    throw new Finding('bad_field', `the keys are not exactly ${names.join(', ')}`);
  }
  return values;
}

/** readObject, with a finding where it throws. */
export function object(bytes, start, end, maxMembers = undefined) {
  try {
    return readObject(bytes, start, end, maxMembers);
  } catch (error) {
    if (error instanceof NotCanonical) throw new Finding('not_canonical', error.message);
    throw error;
  }
}
