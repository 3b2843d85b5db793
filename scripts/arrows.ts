/**
 * `node scripts/arrows.ts`: writes the import rules of `.oxlintrc.json` from the one table below, which
 * `test/house/arrows.test.ts` reads too. Add a line to it for a new folder or adapter.
 */
import { readFileSync, writeFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'

export interface Folder {
  /** Top-level folders that it may import, or `folder/adapter` for one adapter. Its own files are never restricted. */
  readonly may: readonly string[]
  /** Subfolders that load a driver. Another folder may import one only if its `may` names it. */
  readonly adapters: readonly string[]
  /** Subfolders named like an adapter that load no driver: a folder that may import the parent may import them. */
  readonly open?: readonly string[]
}

const EVERY_PART = ['core', 'binder', 'outbox', 'saga', 'locks', 'election', 'bus'] as const

/** Maps each folder to the folders that it may import. The linter refuses all others. */
export const FOLDERS: Readonly<Record<string, Folder>> = {
  core: { may: [], adapters: ['pg', 'pglite', 'opentelemetry', 'orms'], open: ['redis'] },
  binder: { may: ['core'], adapters: ['memory', 'kafka', 'rabbitmq', 'postgres'] },
  outbox: { may: ['core', 'binder'], adapters: [] },
  saga: { may: ['core', 'binder', 'outbox'], adapters: [] },
  locks: {
    may: ['core'],
    adapters: ['memory', 'redis', 'redlock', 'postgres', 'tokens/memory', 'tokens/redis', 'tokens/postgres'],
  },
  election: { may: ['core', 'locks'], adapters: ['cluster/memory', 'cluster/redis', 'cluster/postgres'] },
  bus: { may: ['core', 'binder'], adapters: [] },
  service: { may: EVERY_PART, adapters: [] },
  embedded: {
    may: ['core', 'core/pglite', 'binder', 'binder/postgres', 'locks', 'locks/postgres', 'service'],
    adapters: [],
  },
  operator: {
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
  testing: { may: ['core', 'core/pglite', 'binder', 'binder/memory', 'outbox', 'saga'], adapters: [] },
  // Public subpaths of several parts; no other folder imports them.
  entry: {
    may: [
      ...EVERY_PART,
      ...['binder', 'locks', 'locks/tokens', 'election/cluster'].flatMap((part) => [
        `${part}/memory`,
        `${part}/postgres`,
      ]),
      ...['locks', 'locks/tokens', 'election/cluster'].map((part) => `${part}/redis`),
      'locks/redlock',
    ],
    adapters: [],
  },
}

/** Folders inside an adapter that each use one client library. Only the files in `but` import them. */
export const DRIVERS: Readonly<Record<string, { readonly names: readonly string[]; readonly but: readonly string[] }>> =
  {
    'binder/kafka': { names: ['kafkajs', 'platformatic'], but: ['index.ts'] },
  }

const ADAPTERS = [
  ...new Set(
    Object.values(FOLDERS).flatMap(({ adapters }) => adapters.map((path) => path.split('/').at(-1) as string)),
  ),
]
const NEVER = ['packages', 'examples', 'test', 'bench', 'scripts']
/** Import paths of ours: a folder of the engine reaches others by path, and no package at all. */
const BY_NAME = ['concordat/*', '@concordat/*']

/** Returns the patterns of import specifiers that are forbidden in the files of `folder`. */
export function forbidden(folder: string): readonly string[] {
  const { may } = FOLDERS[folder] as Folder
  const allowed = new Set(may.flatMap((path) => path.split('/')))
  const folders = Object.keys(FOLDERS).filter((other) => other !== folder && !allowed.has(other))
  const adapters = ADAPTERS.filter((adapter) => !allowed.has(adapter))
  const open = may.flatMap((path) => FOLDERS[path]?.open?.map((name) => `!**/${path}/${name}/**`) ?? [])
  return [...[...folders, ...adapters, ...NEVER].map((name) => `**/${name}/**`), ...open, ...BY_NAME]
}

const rule = (group: readonly string[], message: string) => ({
  'no-restricted-imports': ['error', { patterns: [{ group, message }] }],
})

/** Returns the overrides of the linter configuration that enforce the import rules. */
export function overrides(): readonly object[] {
  const folders = Object.entries(FOLDERS).map(([folder, { may }]) => ({
    files: [`${folder}/**`],
    rules: rule(
      forbidden(folder),
      `${folder} -> ${may.length === 0 ? 'nothing of ours' : may.join(', ')} (core: nothing). Only scripts/arrows.ts changes this.`,
    ),
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
      [
        ...[...Object.keys(FOLDERS), 'packages'].map((name) => `../**/${name}/**`),
        '!../**/conformance/**',
        '!../**/support/**',
        // A folder of an example, beside the importing one.
        '!../operator/**',
      ],
      'Import the packages by name (concordat/..., @concordat/...), as a user would.',
    ),
  }
  return [...folders, ...drivers, byName]
}

interface Config {
  overrides: Array<{ readonly rules: Readonly<Record<string, unknown>> }>
}

/** Replaces the import rules of the configuration by those of the table, and keeps everything else. */
export function withArrows(config: Config): Config {
  const others = config.overrides.filter(({ rules }) => !('no-restricted-imports' in rules))
  return { ...config, overrides: [...others, ...(overrides() as Config['overrides'])] }
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const path = new URL('../.oxlintrc.json', import.meta.url)
  writeFileSync(path, `${JSON.stringify(withArrows(JSON.parse(readFileSync(path, 'utf8'))), undefined, 2)}\n`)
}
