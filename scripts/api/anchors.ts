/** Links between the pages of docs/api. */
import { globSync, readFileSync, writeFileSync } from 'node:fs'
import { join, resolve } from 'node:path'

/** Maps headings to the anchors of Markdown hosts, which number repeated ones. The first of equal headings counts. */
export function anchorsOf(page: string): ReadonlyMap<string, string> {
  const seen = new Map<string, number>()
  const anchors = new Map<string, string>()
  for (const [, heading = ''] of page.matchAll(/^#+ (.+)$/gm)) {
    const name = heading.replaceAll('\\', '')
    const slug = name
      .toLowerCase()
      .replaceAll(/[^\w -]/g, '')
      .replaceAll(' ', '-')
    const count = seen.get(slug) ?? 0
    seen.set(slug, count + 1)
    if (!anchors.has(name)) anchors.set(name, count === 0 ? slug : `${slug}-${count}`)
  }
  return anchors
}

/**
 * Corrects the anchors of links, by the headings of their pages. typedoc and Markdown hosts number names that differ
 * only in case (`memoryBroker`, `MemoryBroker`) differently.
 */
export function repairLinks(folder: string): void {
  const pages = new Map(globSync('**/*.md', { cwd: folder }).map((file) => [resolve(folder, file), '']))
  for (const file of pages.keys()) pages.set(file, readFileSync(file, 'utf8'))
  const anchors = new Map([...pages].map(([file, page]) => [file, anchorsOf(page)]))
  for (const [file, page] of pages) {
    const fixed = page.replaceAll(/\[`(\w+)`\]\(([^)#]*)#[\w-]+\)/g, (link, name: string, target: string) => {
      const anchor = anchors.get(target === '' ? file : join(file, '..', target))?.get(name)
      return anchor === undefined ? link : `[\`${name}\`](${target}#${anchor})`
    })
    writeFileSync(file, fixed)
  }
}
