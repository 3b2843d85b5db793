import { expect, test } from 'vitest'
import { isAllowed, licensed, readLicences } from '../../scripts/licences.ts'

test('everything that users install with the package, drivers too, is under a permissive licence', () => {
  const all = readLicences()
  expect(all.map(({ name }) => name)).toEqual(expect.arrayContaining(['croner', 'uuid', 'pg', 'ioredis', 'denque']))
  expect(all.filter(({ licence }) => !isAllowed(licence))).toEqual([])
})

test('one of several alternative licences is enough, and all of a combination are needed', () => {
  expect(['MIT', '(MIT OR GPL-3.0)', '(MIT AND ISC)'].every(isAllowed)).toBe(true)
  expect(['GPL-3.0', '(MIT AND GPL-3.0)', 'SEE LICENSE IN X', 'none said'].some(isAllowed)).toBe(false)
})

test('a dependency is resolved as Node does, beside and then further up', () => {
  const packages = {
    '': { dependencies: { a: '1' } },
    'node_modules/a': { version: '1', license: 'MIT', dependencies: { b: '1', c: '1' } },
    'node_modules/a/node_modules/b': { version: '2', license: 'ISC', dependencies: { c: '1' } },
    'node_modules/b': { version: '3', license: 'GPL-3.0' },
    'node_modules/c': { version: '4' },
  }
  expect(licensed({ packages }, []).map(({ name, version, licence }) => `${name}@${version} ${licence}`)).toEqual([
    'a@1 MIT',
    'b@2 ISC',
    'c@4 none said',
  ])
  expect(() => licensed({ packages }, ['d'])).toThrow('d, which the package needs, is not in the lockfile')
})
