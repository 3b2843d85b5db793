// oxlint-disable no-restricted-imports -- not public: the words of messages and of what operators read
import { expect, it } from 'vitest'
import { counted } from '../../core/counted-noun.ts'

it.for([
  [0, '0 keys are held', '0 keys'],
  [1, '1 key is held', '1 key'],
  [2, '2 keys are held', '2 keys'],
] as const)('counted formats %i with a noun and a verb that fit', ([count, sentence, noun]) => {
  expect(counted(count, 'key is held', 'keys are held')).toBe(sentence)
  expect(counted(count, 'key')).toBe(noun)
})
