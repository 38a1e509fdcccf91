import { test } from 'vitest';
import { exploreHash, exploreLru, exploreTrie } from '../support/interleaved-maps.ts';

test('a hash: 20,000 look-ups and 2,000 writers, interrupted', () => {
  exploreHash({ readers: 20_000, writers: 2000 });
});

test('a trie: 5,000 look-ups and 500 writers, interrupted', () => {
  exploreTrie({ readers: 5000, writers: 500 });
});

test('an LRU hash: 2,000 calls, interrupted', () => {
  exploreLru(2000);
});
