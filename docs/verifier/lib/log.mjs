// One log: its lines, its checkpoints, the newest cosigned one, and what was kept elsewhere.

import { Checkpoints, checkCosignatures, checkOrigin, checkRoot, readNote, signer } from './checkpoints.mjs';
import { Events } from './events.mjs';
import { Finding } from './findings.mjs';
import { utf8 } from './forms.mjs';
import { readStart, Unreadable } from './lines.mjs';
import { MAX_NOTE } from './note.mjs';

/**
 * Verifies the log in `dir`. `box` holds keys and witnesses, `anchor` is a note read with readNote or null.
 * `complete`: lines behind the last checkpoint are a finding.
 */
export function verifyLog(dir, log, box, anchor, complete, report) {
  const cosigned = new Kept('cosigned', log, report);
  const anchored = new Kept('anchor', log, report);
  cosigned.attempt(() => readCosigned(`${dir}/cosigned`, log, box));
  anchored.attempt(() => anchor && checkAnchor(anchor, log, box));
  const kept = [cosigned, anchored].filter((each) => each.note !== null);

  const events = new Events(`${dir}/events.jsonl`, log, kept.map((each) => each.note.size));
  try {
    const checkpoints = new Checkpoints(log, box, events, cosigned.note);
    checkpoints.read(`${dir}/checkpoints.jsonl`);
    events.advance(Infinity);
    for (const each of kept) each.attempt(() => checkKept(each.note, events));
    cosigned.attempt(() => {
      if (cosigned.note !== null && !checkpoints.hasCosigned && checkpoints.finding === null) {
        throw new Finding('bad_checkpoint', checkpoints.witnessed ? 'not the last note of checkpoints.jsonl'
          : 'this checkpoint is not in checkpoints.jsonl');
      }
      return cosigned.note;
    });
    const signed = Number(checkpoints.size);
    events.tell(report);
    checkpoints.tell(report);
    if (complete && checkpoints.finding === null && !events.lost && signed < events.count) {
      const text = `${events.count - signed} lines behind the last checkpoint`;
      report.add(new Finding('not_signed', text), log, signed + 1, signed);
    }
    report.logs[log] = { events: events.count, signed, cosigned: Number(cosigned.note?.size ?? 0) };
    if (checkpoints.witnessed) report.logs[log].witnessed = true;
  } finally {
    events.close();
  }
  cosigned.tell();
  anchored.tell();
}

/** A note beside the checkpoints, and its first finding. */
class Kept {
  constructor(what, log, report) {
    Object.assign(this, { what, log, report, note: null, finding: null });
  }

  /** Runs one check, which gives the note back; after a finding no more is run. */
  attempt(check) {
    if (this.finding !== null) return;
    try {
      this.note = check();
    } catch (error) {
      if (error instanceof Unreadable) this.finding = new Finding('unreadable', `${this.what}: ${error.message}`);
      else if (error instanceof Finding) this.finding = new Finding(error.code, `${this.what}: ${error.message}`);
      else throw error;
      this.note = null;
    }
  }

  tell() {
    if (this.finding !== null) this.report.add(this.finding, this.log);
  }
}

function readCosigned(path, log, box) {
  const bytes = readStart(path, MAX_NOTE + 1);
  if (bytes === null) return null;
  const written = utf8(bytes);
  if (written === null) throw new Finding('bad_checkpoint', 'not UTF-8');
  const note = readNote(written);
  const [first, ...witnesses] = note.signatures;
  if (witnesses.length === 0) throw new Finding('bad_checkpoint', 'no signature line of a witness');
  checkOrigin(box.keys, log, note.origin);
  signer(box.keys, note.text, first);
  checkCosignatures(box.witnesses, note.text, witnesses);
  return note;
}

/** An anchor is held against the box's key only: witness.vkeys may not be in the folder. */
export function checkAnchor(anchor, log, box) {
  checkOrigin(box.keys, log, anchor.origin);
  signer(box.keys, anchor.text, anchor.signatures[0]);
  return anchor;
}

function checkKept(note, events) {
  if (!events.lost) {
    if (note.size === '0') throw new Finding('bad_checkpoint', 'the size is 0');
    checkRoot(note.size, events.roots.get(note.size), events.count, note.root);
  }
  return note;
}
