/** `completion`: the script with which a shell completes `concordat` commands. */
import { COMMON_OPTIONS, type Command, UsageError } from './command.ts'
import { only } from './values.ts'

const SHELLS = ['bash', 'zsh', 'fish'] as const

/**
 * @param commands all commands, read when it runs
 */
export function completionCommand(commands: () => readonly Command[]): Command {
  return {
    name: 'completion',
    summary: 'prints the completion script of a shell: bash, zsh or fish',
    takes: 'SHELL',
    options: {},
    examples: ['npx concordat completion bash > concordat-completion.bash'],
    run(invocation) {
      const shell = SHELLS.find((each) => each === only(invocation, 'SHELL'))
      if (shell === undefined) throw new UsageError(`SHELL: expected one of ${SHELLS.join(', ')}`)
      const script = shell === 'fish' ? fish(commands()) : bash(commands(), shell === 'zsh')
      return Promise.resolve({ text: script, json: { shell, script } })
    },
  }
}

/** Possible next words after each beginning of a command line. */
function nextWords(commands: readonly Command[]): ReadonlyMap<string, readonly string[]> {
  const words = new Map<string, string[]>()
  const add = (before: string, next: string): void => {
    const known = words.get(before) ?? []
    if (!known.includes(next)) known.push(next)
    words.set(before, known)
  }
  for (const { name, options } of commands) {
    const [first = '', second] = name.split(' ')
    add('', first)
    if (second !== undefined) add(first, second)
    for (const option of Object.keys({ ...options, ...COMMON_OPTIONS })) add(name, `--${option}`)
  }
  return words
}

function bash(commands: readonly Command[], isZsh: boolean): string {
  const single = new Set(commands.map(({ name }) => name).filter((name) => !name.includes(' ')))
  // `asyncapi diff` comes before `asyncapi`, which can be followed by an argument.
  const byLength = [...nextWords(commands)].toSorted(([one], [other]) => other.length - one.length)
  const cases = byLength.map(([before, next]) => {
    // A command of one word can be followed by an argument.
    const pattern = single.has(before) ? `"${before}"|"${before} "*` : `"${before}"`
    return `    ${pattern}) words="${next.join(' ')}" ;;`
  })
  return [
    ...(isZsh ? ['autoload -U +X bashcompinit && bashcompinit'] : []),
    '_concordat() {',
    '  local before="" word words="" n',
    '  for ((n = 1; n < COMP_CWORD; n++)); do',
    // The name of a command ends at the first option or argument and has at most two words.
    '    word="${COMP_WORDS[n]}"',
    '    [[ "$word" == -* || "$n" -gt 2 ]] && break',
    '    before="${before:+$before }$word"',
    '  done',
    '  case "$before" in',
    ...cases,
    '  esac',
    '  COMPREPLY=($(compgen -W "$words" -- "${COMP_WORDS[COMP_CWORD]}"))',
    '}',
    'complete -F _concordat concordat',
    '',
  ].join('\n')
}

function fish(commands: readonly Command[]): string {
  const lines = commands.flatMap(({ name, summary, options }) => {
    const [first = '', second] = name.split(' ')
    const seen = `__fish_seen_subcommand_from ${first}`
    const about = summary.replaceAll("'", "\\'")
    const own = second === undefined ? seen : `${seen}; and __fish_seen_subcommand_from ${second}`
    return [
      ...(second === undefined
        ? [`complete -c concordat -f -n __fish_use_subcommand -a ${first} -d '${about}'`]
        : [
            `complete -c concordat -f -n __fish_use_subcommand -a ${first}`,
            `complete -c concordat -f -n '${seen}' -a ${second} -d '${about}'`,
          ]),
      ...Object.entries({ ...options, ...COMMON_OPTIONS }).map(
        ([option, { about: what }]) =>
          `complete -c concordat -n '${own}' -l ${option} -d '${what.replaceAll("'", "\\'")}'`,
      ),
    ]
  })
  return `${[...new Set(lines)].join('\n')}\n`
}
