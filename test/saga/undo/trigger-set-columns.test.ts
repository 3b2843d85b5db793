import { expect, test } from 'vitest'
// oxlint-disable no-restricted-imports -- inside of undo: what a trigger's text says
import { columnsSetAnew } from '../../../saga/undo/trigger-set-columns.ts'

const COLUMNS = ['id', 'touched_at', 'Odd "one"', 'version', 'email']

function found(source: string, { name = 'touch', args = '', ignored = [] as readonly string[] } = {}) {
  return columnsSetAnew([{ trigger: 't', name, source, args }], COLUMNS, ignored).map(({ column }) => column)
}

test.each([
  ['NEW.touched_at := now();', ['touched_at']],
  ["new.touched_at = clock_timestamp() AT TIME ZONE 'utc';", ['touched_at']],
  ['NEW . Touched_At := CURRENT_TIMESTAMP;', ['touched_at']],
  ['IF NEW IS DISTINCT FROM OLD THEN NEW.touched_at = localtimestamp; END IF;', ['touched_at']],
  ['NEW."Odd ""one""" := statement_timestamp();', ['Odd "one"']],
  ['NEW.version := OLD.version + 1;', ['version']],
  ['NEW.version := coalesce(OLD.version, 0) + 1; NEW.touched_at := now();', ['version', 'touched_at']],
])('a trigger that writes another value at each update is seen: %s', (source, columns) => {
  expect(found(source)).toEqual(columns)
})

test.each([
  'NEW.email := lower(NEW.email);',
  'NEW.touched_at := coalesce(NEW.touched_at, now());',
  'NEW.version := coalesce(NEW.version, 0);',
  '-- NEW.touched_at := now();',
  '/* NEW.touched_at := now(); */ RETURN NEW;',
  "IF NEW.touched_at > now() THEN RAISE EXCEPTION 'too late'; END IF;",
  'NEW.unknown := now();',
])('a trigger that writes the same again, or nothing, is not: %s', (source) => {
  expect(found(source)).toEqual([])
})

test('a column that is ignored is not listed', () => {
  expect(found('NEW.touched_at := now();', { ignored: ['touched_at'] })).toEqual([])
})

test('the extension moddatetime names its column as an argument', () => {
  expect(found('moddatetime', { name: 'moddatetime', args: 'touched_at\\000' })).toEqual(['touched_at'])
})
