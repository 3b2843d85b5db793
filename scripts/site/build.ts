/**
 * `npm run docs`: builds the site into `site/`, ready for any static host. `npm run docs -- dev` serves the pages and
 * reloads on changes. Installs its own tools first. A link to a missing page fails the build.
 */
import { execFileSync } from 'node:child_process'
import { globSync } from 'node:fs'
import { cp, mkdir, readFile, rm, writeFile } from 'node:fs/promises'
import { dirname, join, relative, resolve } from 'node:path'
import { installPackages } from '../install-packages.ts'

const HERE = import.meta.dirname
const ROOT = resolve(HERE, '../..')
const PAGES = join(HERE, 'pages')
/** Pages from outside `docs/`, and the folder of decision records, with their addresses on the site. */
const ROOT_PAGES: Readonly<Record<string, string>> = {
  'README.md': '/',
  'SECURITY.md': '/security',
  'CHANGELOG.md': '/changelog',
  'CONTRIBUTING.md': '/contributing/guide',
  'bench/README.md': '/contributing/benchmarks',
  'bench/tables.md': '/contributing/benchmark-tables',
  'docs/decisions': '/decisions/',
}

function run(command: string, args: readonly string[]): void {
  execFileSync(command, args, { cwd: HERE, stdio: 'inherit' })
}

/** Copies the pages here, because VitePress resolves its modules from the folder of a page. */
async function stage(): Promise<void> {
  await rm(PAGES, { recursive: true, force: true })
  await cp(join(ROOT, 'docs'), PAGES, { recursive: true })
  for (const page of globSync('docs/**/*.md', { cwd: ROOT })) await stagePage(page, join(PAGES, relative('docs', page)))
  for (const [page, address] of Object.entries(ROOT_PAGES)) {
    if (page.endsWith('.md') && address !== '/') await stagePage(page, join(PAGES, `${address}.md`))
  }
  await cp(join(HERE, 'index.md'), join(PAGES, 'index.md'))
  await writeFile(join(PAGES, 'decisions/index.md'), await listOfDecisions())
}

async function listOfDecisions(): Promise<string> {
  const pages = globSync('*.md', { cwd: join(ROOT, 'docs/decisions') }).toSorted((a, b) => a.localeCompare(b))
  const lines = pages.map(async (page) => {
    const text = await readFile(join(ROOT, 'docs/decisions', page), 'utf8')
    return `- [${/^# (.*)$/m.exec(text)?.[1] ?? page}](${page})`
  })
  return `# Decisions\n\n${(await Promise.all(lines)).join('\n')}\n`
}

/** Copies a page. Links to a page in `ROOT_PAGES` become its address, and its links to `docs/` lead to the pages. */
async function stagePage(page: string, staged: string): Promise<void> {
  const text = await readFile(join(ROOT, page), 'utf8')
  const linked = text.replaceAll(/\]\((?!https?:|#)([^)#]+)/g, (link, target: string) => {
    const path = relative(ROOT, resolve(ROOT, dirname(page), target))
    const address =
      ROOT_PAGES[path] ??
      (!page.startsWith('docs/') && path.startsWith('docs/') ? path.slice('docs'.length) : undefined)
    return address === undefined ? link : `](${address}`
  })
  await mkdir(dirname(staged), { recursive: true })
  await writeFile(staged, linked.replaceAll(/<!-- file: (\S+) -->\n/g, '`$1`:\n\n'))
}

installPackages(HERE)
await stage()
const [command = 'build', ...rest] = process.argv.slice(2)
run(process.execPath, [join(HERE, 'node_modules/vitepress/bin/vitepress.js'), command, '.', ...rest])
