import { failureName } from '../words.ts'

/** Returns the message of an error, after its code or class where these say more than `Error`. */
export function failureText({ code, name, message = '' }: Parameters<typeof failureName>[0]): string {
  const said = failureName({ code, name })
  return said === undefined || said === 'Error' ? message : `${said}: ${message}`
}
