/** Schemas as services have them, with a step's writes there: undone exactly, or refused at once. */
export interface Works {
  readonly name: string
  readonly tables: readonly string[]
  readonly protect: readonly (string | { readonly table: string; readonly ignored: readonly string[] })[]
  readonly alsoWrites?: readonly string[]
  readonly work: readonly string[]
  /** Tables that differ afterwards: they are in `alsoWrites`, or have an ignored column. */
  readonly differs?: readonly string[]
}

export const ACCOUNT: readonly string[] = [
  'CREATE TABLE account (id int PRIMARY KEY, cents int)',
  'INSERT INTO account VALUES (1, 1), (2, 2)',
]
export const AUDITED: readonly string[] = [
  ...ACCOUNT,
  'CREATE TABLE audit (no int GENERATED ALWAYS AS IDENTITY PRIMARY KEY, account int, was int, is_now int)',
  `CREATE FUNCTION audit() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
     INSERT INTO audit (account, was, is_now) VALUES (coalesce(NEW.id, OLD.id), OLD.cents, NEW.cents); RETURN NULL; END $$`,
  'CREATE TRIGGER audit AFTER INSERT OR UPDATE OR DELETE ON account FOR EACH ROW EXECUTE FUNCTION audit()',
]
export const CHANGES: readonly string[] = [
  'UPDATE account SET cents = 5 WHERE id = 1',
  'DELETE FROM account WHERE id = 2',
  'INSERT INTO account VALUES (3, 3)',
]

export const CIRCLE: readonly string[] = [
  'CREATE TABLE circle (id int PRIMARY KEY, up int NOT NULL, note text)',
  'INSERT INTO circle VALUES (1, 2, $$a$$), (2, 1, $$b$$)',
]

/** A column that a trigger sets. @param value an expression */
export const setting = (value: string, as = 'touched_at := '): readonly string[] => [
  'CREATE TABLE account (id int PRIMARY KEY, cents int, version int DEFAULT 0, touched_at timestamptz)',
  'INSERT INTO account VALUES (1, 1), (2, 2)',
  `CREATE FUNCTION touch() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN NEW.${as}${value}; RETURN NEW; END $$`,
  'CREATE TRIGGER touch BEFORE INSERT OR UPDATE ON account FOR EACH ROW EXECUTE FUNCTION touch()',
]

export const WORKS: readonly Works[] = [
  {
    name: 'a handler that fires no triggers for a while',
    tables: ACCOUNT,
    protect: ['account'],
    work: ['SET LOCAL session_replication_role = replica', ...CHANGES, 'SET LOCAL session_replication_role = origin'],
  },
  {
    name: 'an audit table that is protected',
    tables: AUDITED,
    protect: ['account', 'audit'],
    work: CHANGES,
  },
  {
    name: 'an audit table in alsoWrites',
    tables: AUDITED,
    protect: ['account'],
    alsoWrites: ['audit'],
    work: CHANGES,
    differs: ['audit'],
  },
  {
    name: 'an audit table that is protected and has an audit table of its own',
    tables: [
      ...AUDITED,
      'CREATE TABLE audited (id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY, no int)',
      `CREATE FUNCTION again() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
         INSERT INTO audited (no) VALUES (coalesce(NEW.no, OLD.no)); RETURN NULL; END $$`,
      'CREATE TRIGGER again AFTER INSERT ON audit FOR EACH ROW EXECUTE FUNCTION again()',
    ],
    protect: ['account', 'audit', 'audited'],
    work: CHANGES,
  },
  {
    name: 'a total that a trigger adds up',
    tables: [
      'CREATE TABLE total (id int PRIMARY KEY, n int)',
      'INSERT INTO total VALUES (1, 30)',
      'CREATE TABLE line (id int PRIMARY KEY, n int)',
      'INSERT INTO line VALUES (1, 10), (2, 20)',
      `CREATE FUNCTION add_up() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
         UPDATE total SET n = n + coalesce(NEW.n, 0) - coalesce(OLD.n, 0) WHERE id = 1; RETURN NULL; END $$`,
      'CREATE TRIGGER add_up AFTER INSERT OR UPDATE OR DELETE ON line FOR EACH ROW EXECUTE FUNCTION add_up()',
    ],
    protect: ['total', 'line'],
    work: ['INSERT INTO line VALUES (3, 5)', 'UPDATE line SET n = n + 1 WHERE id = 1', 'DELETE FROM line WHERE id = 2'],
  },
  {
    name: 'a total that a trigger inserts with its first line',
    tables: [
      'CREATE TABLE total (day int PRIMARY KEY, n int)',
      'CREATE TABLE line (id int PRIMARY KEY, day int, n int)',
      `CREATE FUNCTION add_up() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
         INSERT INTO total VALUES (coalesce(NEW.day, OLD.day), coalesce(NEW.n, -OLD.n))
         ON CONFLICT (day) DO UPDATE SET n = total.n + excluded.n; RETURN NULL; END $$`,
      'CREATE TRIGGER add_up AFTER INSERT OR DELETE ON line FOR EACH ROW EXECUTE FUNCTION add_up()',
    ],
    protect: ['total', 'line'],
    work: ['INSERT INTO line VALUES (1, 1, 5), (2, 1, 6), (3, 2, 7)'],
  },
  {
    name: 'a column that a trigger sets at each update and that is ignored',
    tables: setting('now()'),
    protect: [{ table: 'account', ignored: ['touched_at'] }],
    work: CHANGES,
    differs: ['account'],
  },
  {
    name: 'a column that a trigger sets to the same at each update',
    tables: setting('coalesce(NEW.version, 0)', 'version := '),
    protect: ['account'],
    work: CHANGES,
  },
  {
    name: 'a write that was rolled back to a savepoint in a table that is not protected',
    tables: [...ACCOUNT, 'CREATE TABLE other (id int)', 'INSERT INTO other VALUES (1)'],
    protect: ['account'],
    work: [
      'SAVEPOINT s',
      'UPDATE other SET id = 2',
      'ROLLBACK TO SAVEPOINT s',
      'SAVEPOINT t',
      'TRUNCATE other',
      'ROLLBACK TO SAVEPOINT t',
      ...CHANGES,
    ],
  },
  {
    name: 'settings that were reset up to a savepoint, or afterwards',
    tables: ACCOUNT,
    protect: ['account'],
    work: ['SAVEPOINT s', 'RESET ALL', ...CHANGES, 'ROLLBACK TO SAVEPOINT s', ...CHANGES, 'RESET search_path'],
  },
  {
    name: 'a trigger of its own that the step turns off and on again',
    tables: setting('coalesce(NEW.version, 0)', 'version := '),
    protect: ['account'],
    work: ['ALTER TABLE account DISABLE TRIGGER touch', ...CHANGES, 'ALTER TABLE account ENABLE TRIGGER touch'],
  },
  {
    name: 'a table that the step makes itself',
    tables: ACCOUNT,
    protect: ['account'],
    work: [
      'CREATE TEMPORARY TABLE note (id int) ON COMMIT DROP',
      'INSERT INTO note VALUES (1)',
      'TRUNCATE note',
      'CREATE TABLE made (id int)',
      'DROP TABLE made',
      ...CHANGES,
    ],
  },
  {
    name: 'a row that refers to itself and that a cascade changes with its key',
    tables: [
      'CREATE TABLE own (id int PRIMARY KEY, up int REFERENCES own ON UPDATE CASCADE)',
      'INSERT INTO own VALUES (1, 1)',
    ],
    protect: ['own'],
    work: ['UPDATE own SET id = 5 WHERE id = 1'],
  },
  {
    name: 'a circle of two tables that a cascade goes round',
    tables: [
      'CREATE TABLE egg (id int PRIMARY KEY, hen int)',
      'CREATE TABLE hen (id int PRIMARY KEY REFERENCES egg ON UPDATE CASCADE)',
      'INSERT INTO egg VALUES (1, NULL)',
      'INSERT INTO hen VALUES (1)',
      'UPDATE egg SET hen = 1',
      'ALTER TABLE egg ADD FOREIGN KEY (hen) REFERENCES hen ON UPDATE CASCADE',
    ],
    protect: ['egg', 'hen'],
    work: ['UPDATE egg SET id = 5 WHERE id = 1'],
  },
  ...['', ' ON DELETE CASCADE'].map((action) => ({
    name: `a circle that one statement deletes${action}`,
    tables: [...CIRCLE, `ALTER TABLE circle ADD FOREIGN KEY (up) REFERENCES circle${action}`],
    protect: ['circle'],
    work: ['UPDATE circle SET note = $$c$$ WHERE id = 2', 'DELETE FROM circle'],
  })),
  {
    name: 'a circle that one statement inserts',
    tables: [...CIRCLE, 'ALTER TABLE circle ADD FOREIGN KEY (up) REFERENCES circle'],
    protect: ['circle'],
    work: ['INSERT INTO circle VALUES (3, 4), (4, 3)', 'UPDATE circle SET note = $$c$$ WHERE id IN (1, 3)'],
  },
  {
    name: 'a circle of two tables that one statement inserts and another one deletes',
    tables: [
      'CREATE TABLE egg (id int PRIMARY KEY, hen int NOT NULL)',
      'CREATE TABLE hen (id int PRIMARY KEY, egg int NOT NULL REFERENCES egg)',
      'ALTER TABLE egg ADD FOREIGN KEY (hen) REFERENCES hen',
      'WITH e AS (INSERT INTO egg VALUES (1, 2), (2, 1)) INSERT INTO hen VALUES (1, 1), (2, 2)',
    ],
    protect: ['egg', 'hen'],
    work: [
      'WITH e AS (INSERT INTO egg VALUES (7, 8)) INSERT INTO hen VALUES (8, 7)',
      'WITH e AS (DELETE FROM egg WHERE id < 3) DELETE FROM hen WHERE id < 3',
    ],
  },
  {
    name: 'keys that one statement moves up to those of other rows, to which rows refer',
    tables: [
      'CREATE TABLE own (id int PRIMARY KEY, up int REFERENCES own)',
      'INSERT INTO own VALUES (205, NULL), (105, NULL), (5, 105)',
    ],
    protect: ['own'],
    work: ['UPDATE own SET id = id + 100'],
  },
  {
    name: 'a circle whose rows one statement deletes and others insert anew',
    tables: [...CIRCLE, 'ALTER TABLE circle ADD FOREIGN KEY (up) REFERENCES circle'],
    protect: ['circle'],
    work: [
      'DELETE FROM circle',
      'INSERT INTO circle VALUES (2, 2, $$new$$)',
      'UPDATE circle SET id = 1, up = 1',
      'INSERT INTO circle VALUES (3, 1)',
    ],
  },
]

export interface RefusedStep {
  readonly name: string
  readonly tables: readonly string[]
  readonly work: readonly string[]
  readonly message: string
}

/** `account` is protected. */
export const REFUSED_STEPS: readonly RefusedStep[] = [
  {
    name: 'empties a table that is not protected',
    tables: ['CREATE TABLE other (id int)', 'INSERT INTO other VALUES (1)'],
    work: ['TRUNCATE other'],
    message: 'emptied or rewrote public.other by TRUNCATE or ALTER TABLE, which cannot be undone: delete the rows',
  },
  {
    name: 'empties a partition of a table that is not protected',
    tables: ['CREATE TABLE whole (id int) PARTITION BY RANGE (id)', 'CREATE TABLE part PARTITION OF whole DEFAULT'],
    work: ['TRUNCATE part'],
    message: 'emptied or rewrote public.part',
  },
  {
    name: 'writes to an audit table by a trigger',
    tables: AUDITED.slice(ACCOUNT.length),
    work: CHANGES,
    message:
      'wrote to public.audit, which undo does not protect: call undo.protect(sql, [...]) in a migration, or name',
  },
  ...[
    { name: 'resets all settings', off: ['RESET ALL'] },
    { name: 'clears the setting of its branch', off: ["SELECT set_config('concordat.undo', '', true)"] },
    { name: 'fires no triggers', off: ['SET LOCAL session_replication_role = replica'] },
    { name: 'disables all triggers', off: ['ALTER TABLE account DISABLE TRIGGER ALL'], on: 'ENABLE TRIGGER ALL' },
    { name: 'disables the triggers', off: ['ALTER TABLE account DISABLE TRIGGER USER'], on: 'ENABLE TRIGGER USER' },
  ].map(({ name, off, on }) => ({
    name: `${name} and writes to a protected table`,
    tables: [],
    work: [
      ...off,
      'UPDATE account SET cents = 5 WHERE id = 1',
      ...(on === undefined ? [] : [`ALTER TABLE account ${on}`]),
    ],
    message: 'wrote to public.account and turned off what writes its changes down (RESET ALL',
  })),
]
