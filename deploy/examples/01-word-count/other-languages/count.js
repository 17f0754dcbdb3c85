require('node:http').createServer((req, res) => {
  let body = ''
  req.on('data', (chunk) => (body += chunk))
  req.on('end', () => {
    const counts = {}
    for (const word of body.match(/\w+/g) ?? []) counts[word] = (counts[word] ?? 0) + 1
    res.end(JSON.stringify(counts))
  })
}).listen(7001, '127.0.0.1')
