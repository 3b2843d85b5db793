import { expect, it } from 'vitest'
// oxlint-disable-next-line no-restricted-imports -- internal
import { controlsTransaction, outlivesTransaction } from '../../core/transaction-control.ts'

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
])('controlsTransaction takes %s for the control of a transaction', (text) => {
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
])('controlsTransaction lets %s through', (text) => {
  expect(controlsTransaction(text)).toBe(false)
})

it.each([
  "SET app.tenant = 'a'",
  'set session app.tenant to 1',
  'SET ROLE owner',
  'SET SESSION AUTHORIZATION owner',
  "SET TIME ZONE 'UTC'",
  '/* x */ SET statement_timeout = 0',
  "SELECT 1; SET app.tenant = 'a'",
  "SELECT set_config('app.tenant', $1, false)",
  "SELECT set_config('app.tenant', $1, $2)",
  "SELECT pg_catalog.set_config('a.b', current_user, true), set_config('a.c', 'x', false)",
  'SELECT pg_advisory_lock(1)',
  'SELECT pg_try_advisory_lock_shared(1, 2)',
  'PREPARE q AS SELECT 1',
  'DO $$ BEGIN SET app.tenant = 1; END $$',
  'CALL settle()',
  'RESET ALL',
  'DISCARD PLANS',
  "LOAD 'auto_explain'",
])('outlivesTransaction recognizes %s as one that outlives its transaction', (text) => {
  expect(outlivesTransaction(text)).toBe(true)
})

it.each([
  "SET LOCAL app.tenant = 'a'",
  'set local role owner',
  'SET CONSTRAINTS ALL DEFERRED',
  'SET TRANSACTION ISOLATION LEVEL SERIALIZABLE',
  "SELECT set_config('app.tenant', $1, true)",
  "SELECT current_user::text AS role, set_config('lock_timeout', $1, true), set_config('a.b', 'on', true)",
  'UPDATE t SET a = 1',
  'INSERT INTO t VALUES (1) ON CONFLICT (id) DO UPDATE SET a = 1',
  'SELECT pg_advisory_xact_lock(1)',
  "SELECT 'SET ROLE owner'",
  "SELECT '; SET a.b = 1'",
  '-- SET a.b = 1\nSELECT 1',
  "PREPARE TRANSACTION 'x'",
])('outlivesTransaction lets %s end with its transaction', (text) => {
  expect(outlivesTransaction(text)).toBe(false)
})
