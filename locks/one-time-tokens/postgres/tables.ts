import type { SqlPart } from '../../../core/migrate.ts'

export const TOKEN_PART: SqlPart = {
  name: 'token',
  call: 'tokens.migrate()',
  migrations: [
    {
      version: 1,
      statements: [
        `CREATE TABLE {schema}.one_time_token (
           hash text PRIMARY KEY, purpose text NOT NULL, payload text,
           issued_at timestamptz NOT NULL, expires_at timestamptz NOT NULL, used_at timestamptz
         )`,
        `CREATE INDEX one_time_token_expires_at ON {schema}.one_time_token (expires_at)`,
      ],
    },
  ],
}
