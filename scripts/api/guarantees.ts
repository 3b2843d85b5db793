/** Generates the page of claims, each with the tests that show it, from `test/house/guarantees.json`. */

export interface Claim {
  /** Section and subject, such as `kill/a-consumer`. */
  readonly id: string
  readonly subject?: string
  readonly claim: string
  readonly tests: ReadonlyArray<{ readonly file: string; readonly title: string }>
}

const SECTIONS: Readonly<Record<string, string>> = {
  parts: 'What each part guarantees',
  kill: 'A process is killed',
  server: 'A server dies and comes back',
  hangs: 'Something hangs or stalls',
  network: 'The network breaks',
  messages: 'Messages misbehave',
  binder: 'What a message binder has to do',
  spring: 'Where Spring Cloud Stream loses messages',
  'locks-under-faults': 'Locks and elections under all faults',
  clusters: 'Clusters that fail over',
  proof: 'All parts together, counted',
  simulation: 'All parts in a simulated world',
}

/** @returns the text of docs/contributing/guarantees-by-test.md */
export function guaranteesPage(claims: readonly Claim[]): string {
  const bySection = Map.groupBy(claims, ({ id }) => id.split('/')[0] ?? '')
  const sections = [...bySection].flatMap(([section, rows]) => [
    `## ${SECTIONS[section] ?? section}`,
    ...rows.map(({ subject, claim, tests }) => {
      const lines = tests.map(({ file, title }) => `- "${title}" (\`${file}\`)`)
      return [`**${subject ?? 'All'}**: ${claim}`, lines.join('\n')].join('\n\n')
    }),
  ])
  return `${[HEAD, ...sections].join('\n\n')}\n`
}

const HEAD = `# Guarantees and their tests

Each claim behind [Guarantees](../guarantees.md) with the tests that show it. The claims are in
\`test/house/guarantees.json\`; \`npm run docs:api\` generates this page, and a test checks that every named test exists.`
