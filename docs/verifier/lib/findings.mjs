// What a verifier has to say about a folder.

/** Thrown, up to whoever reads the file: its first finding. No Error: hostile files have one in each line. */
export class Finding {
  constructor(code, message) {
    this.code = code;
    this.message = message;
  }
}

export class Report {
  constructor() {
    this.findings = [];
    this.warnings = [];
    this.logs = {};
  }

  add(finding, log = '', line = 0, seq = null) {
    this.findings.push({ code: finding.code, log, line, seq, text: finding.message });
  }

  warn(code, log, line, text) {
    this.warnings.push({ code, log, line, seq: null, text });
  }
}
