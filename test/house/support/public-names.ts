/** Names of the public subpaths, with the types, which no import shows at run time; and the places that write them. */
import { globSync, readFileSync } from 'node:fs'
import { entriesOf, PACKAGES } from '../../../scripts/packages.ts'

const LISTED = /^export (?:type )?\{([^}]*)\}/gm
const DECLARED = /^export (?:abstract |async |declare )*(?:const|function|class|interface|type) (\w+)/gm
const IMPORTED = /(?:import|export) (?:type )?\{([^}]*)\} from '(concordat\/[\w/-]+)'/g
const FENCED = /^```[\s\S]*?^```/gm
const IN_LINE = /`[^`]+`/g
const PARAGRAPHS = /\n\s*\n/

const read = (path: string): string => readFileSync(path, 'utf8')

/** Names in a list of imports or exports; of a renamed one the name at the given side of `as`. */
function listed(list: string, side: 0 | -1): readonly string[] {
  const names = list.split(',').map(
    (name) =>
      name
        .trim()
        .replace(/^type /, '')
        .split(' as ')
        .at(side) ?? '',
  )
  return names.filter((name) => name !== '')
}

/** Lists the names of the engine as `concordat/saga Saga`. */
export function publicNames(): readonly string[] {
  const engine = PACKAGES.filter(({ folder }) => folder === '')
  return engine.flatMap(entriesOf).flatMap(({ path, source }) => {
    const text = read(source).replaceAll(/\/\*[\s\S]*?\*\//g, '')
    const names = [
      ...Array.from(text.matchAll(LISTED), ([, list = '']) => listed(list, -1)).flat(),
      ...Array.from(text.matchAll(DECLARED), ([, name = '']) => name),
    ]
    return names.map((name) => `${path} ${name}`)
  })
}

/** Words in the code of the pages that are written by hand. */
export function namesInPages(): ReadonlySet<string> {
  const generated = /^docs\/(?:api\/|decisions\/|reference\/options\.md$|contributing\/guarantees-by-test\.md$)/
  const pages = globSync(['README.md', 'CONTRIBUTING.md', '{docs,examples,packages}/**/*.md'], {
    exclude: ['**/node_modules/**'],
  }).filter((page) => !generated.test(page))
  const code = pages.flatMap((page) => {
    const text = read(page)
    const paragraphs = text.replaceAll(FENCED, '').split(PARAGRAPHS)
    return [...(text.match(FENCED) ?? []), ...paragraphs.flatMap((paragraph) => paragraph.match(IN_LINE) ?? [])]
  })
  return new Set(code.flatMap((piece) => piece.match(/\w+/g) ?? []))
}

/** Lists what the examples and the packages beside the engine import, as `publicNames` does. */
export function importedNames(): ReadonlySet<string> {
  const files = globSync(['examples/**/*.ts', 'packages/**/*.{ts,tsx}'], {
    exclude: ['**/node_modules/**', '**/dist/**'],
  })
  const imports = files.flatMap((file) => Array.from(read(file).matchAll(IMPORTED)))
  return new Set(imports.flatMap(([, list = '', path = '']) => listed(list, 0).map((name) => `${path} ${name}`)))
}
