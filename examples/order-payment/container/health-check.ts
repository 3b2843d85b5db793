/** HEALTHCHECK of the image, which has no curl. Exits with 0 when the service is ready. */
try {
  const response = await fetch(`http://127.0.0.1:${process.env['PORT'] || '8080'}/ready`, {
    signal: AbortSignal.timeout(2_000),
  })
  process.stdout.write(await response.text())
  process.exit(response.ok ? 0 : 1)
} catch (error) {
  process.stdout.write(String(error))
  process.exit(1)
}
