/** Shortens an error for a column of a list, where its code says nothing. */
const WORDS = 6
const MAX_LENGTH = 48

/** Name of every plain `Error`, which tells none from another. */
const PLAIN = 'Error'

interface Named {
  readonly code?: string | undefined
  readonly name?: string | undefined
  readonly message?: string | undefined
}

/** Its code, else the name of its class, else the first words of its message; `undefined` when it has none of them. */
export function failureName({ code, name, message }: Named): string | undefined {
  const said = [code, name].find((each) => each !== undefined && each !== '' && each !== PLAIN)
  if (said !== undefined || message === undefined || message === '') return said ?? code ?? name
  const words = message.split(/\s+/)
  const first = words.slice(0, WORDS).join(' ').slice(0, MAX_LENGTH)
  return first.length < words.join(' ').length ? `${first}...` : first
}

/** The code, if it says anything, before the message. */
export function failureText({ code, name, message = '' }: Named): string {
  const said = failureName({ code, name })
  return said === undefined || said === PLAIN ? message : `${said}: ${message}`
}
