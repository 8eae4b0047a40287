// The tree over the lines: RFC 6962, with the right edge only.

import * as crypto from 'node:crypto';

/** SHA-256 of a buffer, 32 bytes. */
export const sha256 = typeof crypto.hash === 'function'
  ? (bytes) => crypto.hash('sha256', bytes, 'buffer')
  : (bytes) => crypto.createHash('sha256').update(bytes).digest();

const node = Buffer.alloc(65, 1); // 0x01 || left || right

function parent(left, right) {
  left.copy(node, 1);
  right.copy(node, 33);
  return sha256(node);
}

/** Grows by leaf hashes; holds one hash for each full subtree at the edge, so log2(size) of them. */
export class Tree {
  constructor() {
    this.size = 0;
    this.edge = []; // largest subtree first
  }

  append(leaf) {
    let hash = leaf;
    for (let rest = this.size; rest % 2 === 1; rest = Math.floor(rest / 2)) hash = parent(this.edge.pop(), hash);
    this.edge.push(hash);
    this.size += 1;
  }

  root() {
    if (this.size === 0) return sha256(Buffer.alloc(0));
    let hash = this.edge[this.edge.length - 1];
    for (let i = this.edge.length - 2; i >= 0; i -= 1) hash = parent(this.edge[i], hash);
    return hash;
  }
}
