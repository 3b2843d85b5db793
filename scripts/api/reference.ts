/** The public API as typedoc reads it: every name of every subpath, with its signature and its docstring. */
import { dirname, relative } from 'node:path'
import {
  Application,
  Comment,
  CommentTag,
  type Context,
  Converter,
  DeclarationReflection,
  type ProjectReflection,
  ReflectionKind,
} from 'typedoc'
import { entriesOf, importPath, PACKAGES } from '../packages.ts'
import { repairLinks } from './anchors.ts'
import { CompactTheme, NOT_EXPORTED } from './theme.ts'

/** Maps each page, such as `saga/xa` of `concordat/saga/xa` or `nest` of `@concordat/nest`, to the file with its exports. */
export type Entries = Readonly<Record<string, string>>

export interface Reference {
  readonly app: Application
  readonly project: ProjectReflection
  readonly folder: string
  /** Names that users can import. The project also has the types that these refer to. */
  readonly exported: ReadonlySet<DeclarationReflection>
}

export function packageEntries(): Entries {
  return Object.fromEntries(
    PACKAGES.flatMap(entriesOf).map(({ path, source }) => [path.replace(/^@?concordat\//, ''), source]),
  )
}

/** Where to read the compiler options, and whether to add the types that are not exported: once per process at most. */
export interface Reading {
  readonly tsconfig?: string
  readonly withTypes?: boolean
}

/** @throws when typedoc cannot read an entry */
export async function readReference(
  entries: Entries,
  folder: string,
  { tsconfig = 'tsconfig.build.json', withTypes = true }: Reading = {},
): Promise<Reference> {
  const given = options(Object.values(entries), folder, tsconfig)
  const plugin = [...given.plugin, ...(withTypes ? ['typedoc-plugin-missing-exports'] : [])]
  const app = await Application.bootstrapWithPlugins({
    ...given,
    plugin,
    ...(withTypes ? { placeInternalsInOwningModule: true } : {}),
  } as object)
  const exported = noteExported(app, Object.values(entries))
  app.renderer.defineTheme('compact', CompactTheme as never)
  const project = await app.convert()
  if (project === undefined) throw new Error('typedoc could not read the sources, see its messages above')
  // With a single entry, typedoc makes it the project itself. Callers pass at least two.
  const names = new Map(Object.entries(entries).map(([subpath, file]) => [moduleName(file), subpath]))
  for (const page of project.children ?? []) page.name = names.get(page.name) ?? page.name
  return { app, project, folder, exported }
}

/** Priority of the plugin that adds types which are not exported. */
const ADDING = 1e9

/**
 * Puts each type that is not exported on the page of its folder, in a group of its own: the plugin puts it on the first page that
 * refers to it. Returns the names that are exported, once the project is converted.
 */
function noteExported({ converter }: Application, files: readonly string[]): ReadonlySet<DeclarationReflection> {
  const exported = new Set<DeclarationReflection>()
  const namesIn = ({ project }: Context): readonly DeclarationReflection[] =>
    (project.children ?? []).flatMap((page) => page.children ?? [])
  converter.on(
    Converter.EVENT_RESOLVE_BEGIN,
    (context: Context) => namesIn(context).forEach((name) => exported.add(name)),
    ADDING + 1,
  )
  converter.on(
    Converter.EVENT_RESOLVE_BEGIN,
    (context: Context) => {
      for (const name of namesIn(context)) {
        if (exported.has(name)) continue
        move(name, context.project, files, exported)
        name.comment ??= new Comment()
        name.comment.blockTags.push(new CommentTag('@group', [{ kind: 'text', text: NOT_EXPORTED }]))
      }
    },
    ADDING - 1,
  )
  return exported
}

/** Moves a type to the page that exports a name of its file, or else to the page of the nearest folder. */
function move(
  name: DeclarationReflection,
  project: ProjectReflection,
  files: readonly string[],
  exported: ReadonlySet<DeclarationReflection>,
): void {
  const file = fileOf(name)
  const folders = files.filter((entry) => entry.endsWith('/index.ts') && file.startsWith(`${dirname(entry)}/`))
  const [nearest] = folders.toSorted((a, b) => b.length - a.length)
  const pages = project.children ?? []
  const page =
    pages.find(({ children = [] }) => children.some((each) => exported.has(each) && fileOf(each) === file)) ??
    pages.find((each) => nearest !== undefined && each.name === moduleName(nearest))
  const from = name.parent
  if (page === undefined || page === from || !(from instanceof DeclarationReflection)) return
  from.removeChild(name)
  name.parent = page
  page.addChild(name)
}

function fileOf(name: DeclarationReflection): string {
  return relative('.', name.project.getSymbolIdFromReflection(name)?.fileName ?? '')
}

/** Writes a page for each subpath, and the index page, into the folder that was passed to `readReference`. */
export async function writePages(reference: Reference): Promise<void> {
  prune(reference)
  await reference.app.generateOutputs(reference.project)
  repairLinks(reference.folder)
}

/** Removes constructors without a docstring, and inherited members, which the page shows on the base. */
function prune({ project }: Reference): void {
  const names = project.getReflectionsByKind(ReflectionKind.ClassOrInterface) as DeclarationReflection[]
  // All of them first: a member that is removed is no longer found from those that inherit it over two levels.
  const found = names.map(({ children = [] }) => children.filter((each) => isRepeated(each) || isBareConstructor(each)))
  for (const [index, name] of names.entries()) {
    const left = new Set(found[index])
    for (const group of name.groups ?? []) {
      group.children = group.children.filter((member) => !left.has(member as DeclarationReflection))
    }
    for (const member of left) project.removeReflection(member)
    name.groups = (name.groups ?? []).filter((group) => group.children.length > 0)
  }
}

function isRepeated({ inheritedFrom }: DeclarationReflection): boolean {
  return inheritedFrom?.reflection !== undefined
}

function isBareConstructor(member: DeclarationReflection): boolean {
  return member.kindOf(ReflectionKind.Constructor) && !isDocumented(member)
}

/** Lists public names without a docstring, such as `binder.sink`, and properties of options interfaces without one. */
export function undocumented({ project, exported }: Reference): readonly string[] {
  return (project.children ?? []).flatMap((page) =>
    (page.children ?? []).flatMap((name) => {
      // A re-exported name is checked in the subpath that declares it.
      if (name.isReference() || !exported.has(name)) return []
      const members = /(?:Options|Limits)$/.test(name.name) ? (name.children ?? []) : []
      const bare = [name, ...members].filter((reflection) => !isDocumented(reflection))
      return bare.map((reflection) =>
        [page.name, name.name, ...(reflection === name ? [] : [reflection.name])].join('.'),
      )
    }),
  )
}

function isDocumented(reflection: DeclarationReflection): boolean {
  if (reflection.hasComment()) return true
  const signatures = [...(reflection.signatures ?? []), ...(callable(reflection)?.signatures ?? [])]
  return signatures.some((signature) => signature.hasComment())
}

/** Returns the declaration of a property or an alias that is a function: typedoc puts the comment on its signature. */
function callable(reflection: DeclarationReflection): DeclarationReflection | undefined {
  return reflection.type?.type === 'reflection' ? reflection.type.declaration : undefined
}

function moduleName(file: string): string {
  return file.replace(/(?:\/index)?\.ts$/, '')
}

function options(entryPoints: readonly string[], folder: string, tsconfig: string) {
  const table = 'table'
  return {
    entryPoints,
    tsconfig,
    basePath: '.',
    readme: 'none',
    plugin: ['typedoc-plugin-markdown'],
    theme: 'compact',
    router: 'module',
    outputs: [{ name: 'markdown', path: folder }],
    // `folder` may contain other files, so typedoc must not delete anything there.
    cleanOutputDir: false,
    // `npm run check` checks the types, with TypeScript 7.
    skipErrorChecking: true,
    logLevel: 'Warn',
    validation: { notExported: false, notDocumented: false, invalidLink: true },
    disableSources: true,
    excludeExternals: true,
    excludePrivate: true,
    excludeInternal: true,
    // typedoc numbers anchors in the order of the page.
    kindSortOrder: ['Function', 'Variable', 'Interface', 'TypeAlias', 'Class'],
    groupOrder: ['Functions', 'Variables', 'Interfaces', 'Type Aliases', 'Classes', NOT_EXPORTED],

    hidePageHeader: true,
    hideBreadcrumbs: true,
    pageTitleTemplates: {
      index: 'API reference',
      module: ({ name }: { readonly name: string }) => importPath(name),
      member: '{name}',
    },
    useCodeBlocks: true,
    expandParameters: true,
    parametersFormat: 'none',
    interfacePropertiesFormat: table,
    classPropertiesFormat: table,
    typeAliasPropertiesFormat: table,
    typeDeclarationFormat: table,
    typeDeclarationVisibility: 'compact',
    tableColumnSettings: {
      hideInherited: true,
      hideModifiers: true,
      hideOverrides: true,
      hideSources: true,
      hideDefaults: true,
      hideValues: true,
      leftAlignHeaders: true,
    },
  }
}
