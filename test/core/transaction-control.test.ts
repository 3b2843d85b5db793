import { expect, it } from 'vitest'
// oxlint-disable-next-line no-restricted-imports -- internal
import { controlsTransaction } from '../../core/transaction-control.ts'

it.each([
  'ROLLBACK',
  'rollback work',
  'ROLLBACK AND CHAIN',
  'COMMIT',
  'COMMIT AND CHAIN',
  'END',
  'ABORT',
  'BEGIN',
  'START TRANSACTION',
  "PREPARE TRANSACTION 'x'",
  "COMMIT PREPARED 'x'",
  '/* x */ rollback',
  "/* it's /* nested */ */ ROLLBACK; SELECT 'x'",
  '-- no\nROLLBACK',
  "SELECT 'it''s'; COMMIT",
  'SELECT 1;ROLLBACK;BEGIN',
  "SELECT E'\\''; ROLLBACK; SELECT ''",
  'SELECT "a;b"; END',
])('takes %s for the control of a transaction', (text) => {
  expect(controlsTransaction(text)).toBe(true)
})

it.each([
  'SAVEPOINT a',
  'ROLLBACK TO SAVEPOINT a',
  'rollback to a',
  'ROLLBACK WORK TO a',
  'RELEASE a',
  "SELECT 'ROLLBACK'",
  "SELECT '; ROLLBACK'",
  '/* ; ROLLBACK */ SELECT 1',
  'SELECT CASE WHEN true THEN 1 END',
  'DO $$ BEGIN PERFORM 1; END $$',
  'DO $x$ BEGIN PERFORM $$;COMMIT$$; END $x$',
  'CREATE FUNCTION f() RETURNS int LANGUAGE sql BEGIN ATOMIC SELECT 1; END',
  'UPDATE t SET "end" = 1, start = 2',
  'PREPARE q AS SELECT 1',
  'INSERT INTO commit VALUES (1)',
])('lets %s through', (text) => {
  expect(controlsTransaction(text)).toBe(false)
})
