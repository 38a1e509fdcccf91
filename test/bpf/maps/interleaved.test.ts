import { test } from 'vitest';
import { exploreHash, exploreLru, exploreTrie } from '../support/interleaved-maps.ts';

test('a hash: whatever comes between two accesses of a call, there is an order of all of them', () => {
  exploreHash({ readers: 400, writers: 30 });
});

test('a trie: the same', () => {
  exploreTrie({ readers: 400, writers: 30 });
});

test('an LRU hash: values stay with their keys, and no element goes missing', () => {
  exploreLru(30);
});
