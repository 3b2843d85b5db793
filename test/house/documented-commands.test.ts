/**
 * Checks that the program accepts every command line of `npx concordat` on the pages, in the alert rules and in the
 * help.
 */
import { globSync, readFileSync } from 'node:fs'
import { parseArgs } from 'node:util'
import { expect, test } from 'vitest'
// oxlint-disable-next-line no-restricted-imports -- inside of the command line: the options of each command
import { COMMON_OPTIONS } from '../../packages/cli/commands/command.ts'
// oxlint-disable-next-line no-restricted-imports -- inside of the command line: its commands
import { COMMANDS } from '../../packages/cli/commands/run-command-line.ts'

const ALERTS = 'docs/monitoring/alerts.yml'
const GUIDES = globSync('docs/**/*.md', { exclude: ['docs/decisions/**', 'docs/api/**', 'docs/reference/errors.md'] })
const PAGES = ['README.md', 'SECURITY.md', ...GUIDES, ALERTS]

interface Line {
  readonly where: string
  readonly text: string
  /** Whether a sentence names the command, perhaps without its arguments. */
  readonly isProse: boolean
}

function linesIn(where: string, text: string): readonly Line[] {
  const end = where === ALERTS ? /[.,](?:\s|"|$)| shows / : / {2,}#|\s[|>&]|;|…/
  return Array.from(text.matchAll(/(`?)npx concordat ([a-z][^\n`]*)/g), ([, tick, line = '']) => {
    const [words = ''] = line.split(end)
    return { where, text: words.trim(), isProse: tick === '`' }
  })
}

/** Splits a command line into words as a shell does. */
function wordsOf(text: string): readonly string[] {
  return Array.from(text.matchAll(/"([^"]*)"|'([^']*)'|(\S+)/g), ([all, double, single]) => double ?? single ?? all)
}

/** Number of words that a command needs: `[...]` and alternatives to options are optional. */
function needsOf(takes: string | undefined): number {
  return takes === undefined || takes.startsWith('[') || takes.includes(' | ') ? 0 : takes.split(' ').length
}

/** @returns why it is none; nothing when it is one */
function faultOf(words: readonly string[], isProse: boolean): string | undefined {
  const command =
    COMMANDS.find(({ name }) => name === words.slice(0, 2).join(' ')) ?? COMMANDS.find(({ name }) => name === words[0])
  const isGroup = COMMANDS.some(({ name }) => name.split(' ')[0] === words[0])
  if (words[0] === 'help' || (isProse && isGroup && words.length === 1)) return undefined
  if (command === undefined) return 'no such command'
  const { name, options: own, takes } = command
  const specs = Object.entries({ ...own, ...COMMON_OPTIONS })
  const options = Object.fromEntries(specs.map(([option, { type, multiple = false }]) => [option, { type, multiple }]))
  try {
    const args = words.slice(name.split(' ').length)
    const { positionals } = parseArgs({ args, allowPositionals: true, options })
    if (positionals.length > 0 && takes === undefined) return `takes no ${positionals.join(' ')}`
    return !isProse && positionals.length < needsOf(takes) ? `needs ${takes}` : undefined
  } catch (error) {
    return (error as Error).message
  }
}

function faultsIn(lines: readonly Line[]): readonly string[] {
  return lines.flatMap(({ where, text, isProse }) => {
    const why = faultOf(wordsOf(text), isProse)
    return why === undefined ? [] : [`${where}: npx concordat ${text}: ${why}`]
  })
}

test('a slip in a command line is seen', () => {
  const slips = ['saga lsit', 'dlq list a b --kode c', 'outbox list x', 'dlq show a b', 'saga show']
  const lines = slips.flatMap((slip) => linesIn('here', `npx concordat ${slip}`))
  expect(faultsIn(lines)).toHaveLength(slips.length)
  expect(faultsIn(linesIn('here', 'npx concordat dlq drop a b --reason "x y" --yes   # gone'))).toEqual([])
})

test('the command lines on the pages are known, with their options', () => {
  const lines = PAGES.flatMap((page) => linesIn(page, readFileSync(page, 'utf8')))
  expect(lines.filter(({ where }) => where.endsWith('operating.md')).length).toBeGreaterThan(40)
  expect(faultsIn(lines)).toEqual([])
})

test('examples of the help are known command lines', () => {
  const lines = COMMANDS.flatMap(({ name, examples }) => examples.flatMap((example) => linesIn(name, example)))
  expect(lines.length).toBeGreaterThan(50)
  expect(faultsIn(lines)).toEqual([])
})

test('migrate apply has --yes on the pages: a Job of Kubernetes and a CI job have no terminal to answer in', () => {
  const lines = PAGES.flatMap((page) => linesIn(page, readFileSync(page, 'utf8')))
  const apply = lines.filter(({ text, isProse }) => !isProse && text.startsWith('migrate apply'))
  expect(apply.length).toBeGreaterThan(1)
  expect(apply.filter(({ text }) => !text.includes(' --yes'))).toEqual([])
})
