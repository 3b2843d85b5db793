/**
 * `node scripts/arrows.ts`: writes the import rules of `.oxlintrc.json` from the one table below, which
 * `test/house/arrows.test.ts` reads too. A new folder or adapter is a line here.
 */
import { readFileSync, writeFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'

export interface Folder {
  /** Top-level folders it may import, `/...` for one adapter of a folder. Its own files are never restricted. */
  readonly may: readonly string[]
  /** Subfolders that load a driver: nobody imports them but by name. */
  readonly adapters: readonly string[]
  /** Subfolders with an adapter's name that load no driver: who may import the folder may import them. */
  readonly open?: readonly string[]
}

const EVERY_PART = ['core', 'binder', 'outbox', 'saga', 'locks', 'election', 'bus'] as const

/** Folder -> what it may import. Everything that is not named is refused. */
export const FOLDERS: Readonly<Record<string, Folder>> = {
  core: { may: [], adapters: ['pg', 'pglite', 'kysely', 'opentelemetry', 'orms'], open: ['redis'] },
  binder: { may: ['core'], adapters: ['memory', 'kafka', 'rabbitmq', 'postgres'] },
  outbox: { may: ['core', 'binder'], adapters: [] },
  saga: { may: ['core', 'binder', 'outbox'], adapters: ['mysql2'] },
  locks: {
    may: ['core'],
    adapters: ['memory', 'redis', 'redlock', 'postgres', 'tokens/memory', 'tokens/redis', 'tokens/postgres'],
  },
  election: { may: ['core', 'locks'], adapters: ['cluster/memory', 'cluster/redis', 'cluster/postgres'] },
  bus: { may: ['core', 'binder'], adapters: [] },
  service: { may: EVERY_PART, adapters: ['nest'] },
  embedded: {
    may: ['core', 'core/pglite', 'binder', 'binder/postgres', 'locks', 'locks/postgres', 'service'],
    adapters: [],
  },
  operate: {
    may: [
      ...EVERY_PART,
      'service',
      'binder/postgres',
      'locks/postgres',
      'locks/tokens/postgres',
      'election/cluster/postgres',
    ],
    adapters: [],
  },
  testing: {
    may: [
      'core',
      'core/pglite',
      'binder',
      'binder/memory',
      'outbox',
      'saga',
      'locks',
      'locks/memory',
      'election',
      'election/cluster/memory',
    ],
    adapters: [],
  },
}

/** Folders inside an adapter that hold a client library: the rest of the adapter knows none, and they know no other. */
export const DRIVERS: Readonly<Record<string, { readonly names: readonly string[]; readonly but: readonly string[] }>> =
  {
    'binder/kafka': { names: ['kafkajs', 'platformatic'], but: ['index.ts'] },
  }

/** A folder inside one of these that may do more. */
const EXCEPTIONS: Readonly<Record<string, { readonly may: readonly string[]; readonly why: string }>> = {
  'operate/cli': { may: ['*'], why: 'the command line loads any part and any adapter' },
}

const ADAPTERS = [
  ...new Set(
    Object.values(FOLDERS).flatMap(({ adapters }) => adapters.map((path) => path.split('/').at(-1) as string)),
  ),
]
const NEVER = ['examples', 'test', 'bench', 'scripts']

/** The patterns of specifiers that files of `folder` may not import. */
export function forbidden(folder: string): readonly string[] {
  const { may } = FOLDERS[folder] as Folder
  const allowed = new Set(may.flatMap((path) => path.split('/')))
  const folders = Object.keys(FOLDERS).filter((other) => other !== folder && !allowed.has(other))
  const adapters = ADAPTERS.filter((adapter) => !allowed.has(adapter))
  const open = may.flatMap((path) => FOLDERS[path]?.open?.map((name) => `!**/${path}/${name}/**`) ?? [])
  return [...[...folders, ...adapters, ...NEVER].map((name) => `**/${name}/**`), ...open, 'concordat/*']
}

const rule = (group: readonly string[], message: string) => ({
  'no-restricted-imports': ['error', { patterns: [{ group, message }] }],
})

/** The overrides of the linter's configuration that keep the arrows. */
export function overrides(): readonly object[] {
  const folders = Object.entries(FOLDERS).map(([folder, { may }]) => ({
    files: [`${folder}/**`],
    rules: rule(
      forbidden(folder),
      `${folder} -> ${may.length === 0 ? 'nothing of ours' : may.join(', ')} (core: nothing). Only scripts/arrows.ts changes this.`,
    ),
  }))
  const exceptions = Object.entries(EXCEPTIONS).map(([folder, { why }]) => ({
    files: [`${folder}/**`],
    rules: rule([...NEVER.map((name) => `**/${name}/**`), 'concordat/*'], `${folder} -> everything but tests: ${why}.`),
  }))
  const drivers = Object.entries(DRIVERS).flatMap(([adapter, { names, but }]) => {
    const folder = adapter.split('/')[0] as string
    const others = `${folder} -> ${FOLDERS[folder]?.may.join(', ')}. Only scripts/arrows.ts changes this.`
    const apart = `${others} Of ${adapter} only ${but.join(', ')} imports ${names.join(', ')}: driver.ts is the contract.`
    return [
      { files: [`${adapter}/**`], rules: rule([...forbidden(folder), ...names.map((name) => `**/${name}/**`)], apart) },
      { files: but.map((file) => `${adapter}/${file}`), rules: rule(forbidden(folder), others) },
    ]
  })
  const byName = {
    files: ['examples/**', 'test/**', 'bench/**'],
    rules: rule(
      [...Object.keys(FOLDERS).map((name) => `../**/${name}/**`), '!../**/conformance/**', '!../**/support/**'],
      'Import the package by name (concordat/...), as a user would.',
    ),
  }
  return [...folders, ...drivers, ...exceptions, byName]
}

interface Config {
  overrides: Array<{ readonly rules: Readonly<Record<string, unknown>> }>
}

/** The configuration with the arrows of the table, everything else as it is. */
export function withArrows(config: Config): Config {
  const others = config.overrides.filter(({ rules }) => !('no-restricted-imports' in rules))
  return { ...config, overrides: [...others, ...(overrides() as Config['overrides'])] }
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const path = new URL('../.oxlintrc.json', import.meta.url)
  writeFileSync(path, `${JSON.stringify(withArrows(JSON.parse(readFileSync(path, 'utf8'))), undefined, 2)}\n`)
}
