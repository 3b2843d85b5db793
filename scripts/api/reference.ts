/** The public API as typedoc reads it: every name of every subpath, with its signature and its docstring. */
import { Application, type DeclarationReflection, type ProjectReflection, ReflectionKind } from 'typedoc'
import { entriesOf, importPath, PACKAGES } from '../packages.ts'
import { repairLinks } from './anchors.ts'
import { CompactTheme } from './theme.ts'

/** Maps each page, such as `saga/xa` of `concordat/saga/xa` or `nest` of `@concordat/nest`, to the file with its exports. */
export type Entries = Readonly<Record<string, string>>

export interface Reference {
  readonly app: Application
  readonly project: ProjectReflection
  readonly folder: string
}

export function packageEntries(): Entries {
  return Object.fromEntries(
    PACKAGES.flatMap(entriesOf).map(({ path, source }) => [path.replace(/^@?concordat\//, ''), source]),
  )
}

/** @throws when typedoc cannot read an entry */
export async function readReference(
  entries: Entries,
  folder: string,
  tsconfig = 'tsconfig.build.json',
): Promise<Reference> {
  const app = await Application.bootstrapWithPlugins(options(Object.values(entries), folder, tsconfig) as object)
  app.renderer.defineTheme('compact', CompactTheme as never)
  const project = await app.convert()
  if (project === undefined) throw new Error('typedoc could not read the sources, see its messages above')
  // With a single entry, typedoc makes it the project itself. Callers pass at least two.
  const names = new Map(Object.entries(entries).map(([subpath, file]) => [moduleName(file), subpath]))
  for (const page of project.children ?? []) page.name = names.get(page.name) ?? page.name
  return { app, project, folder }
}

/** Writes a page for each subpath, and the index page, into the folder that was passed to `readReference`. */
export async function writePages(reference: Reference): Promise<void> {
  prune(reference)
  await reference.app.generateOutputs(reference.project)
  repairLinks(reference.folder)
}

/** Removes constructors without a docstring, and inherited members, which the page shows on the base. */
function prune({ project }: Reference): void {
  for (const name of project.getReflectionsByKind(ReflectionKind.ClassOrInterface)) {
    const { children = [] } = name as DeclarationReflection
    const left = new Set(children.filter((member) => isRepeated(member) || isBareConstructor(member)))
    for (const group of (name as DeclarationReflection).groups ?? []) {
      group.children = group.children.filter((member) => !left.has(member as DeclarationReflection))
    }
    for (const member of left) project.removeReflection(member)
    const { groups = [] } = name as DeclarationReflection
    ;(name as DeclarationReflection).groups = groups.filter((group) => group.children.length > 0)
  }
}

function isRepeated({ inheritedFrom }: DeclarationReflection): boolean {
  return inheritedFrom?.reflection !== undefined
}

function isBareConstructor(member: DeclarationReflection): boolean {
  return member.kindOf(ReflectionKind.Constructor) && !isDocumented(member)
}

/** Lists public names without a docstring, such as `binder.sink`, and properties of options interfaces without one. */
export function undocumented({ project }: Reference): readonly string[] {
  return (project.children ?? []).flatMap((page) =>
    (page.children ?? []).flatMap((name) => {
      // A re-exported name is checked in the subpath that declares it.
      if (name.isReference()) return []
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

function options(entryPoints: readonly string[], folder: string, tsconfig: string): Readonly<Record<string, unknown>> {
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
    groupOrder: ['Functions', 'Variables', 'Interfaces', 'Type Aliases', 'Classes'],
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
