/** Replaces what lies under a private name of kafkajs. @returns puts the old value back */
export function replacePrivateField<T>(
  client: object,
  description: string,
  change: (usual: T | undefined) => T,
): () => void {
  const name = Object.getOwnPropertySymbols(client).find((each) => each.description === description)
  if (name === undefined) return () => {}
  const fields = client as Record<symbol, T | undefined>
  const usual = fields[name]
  fields[name] = change(usual)
  return () => {
    fields[name] = usual
  }
}
