// Preloaded into the commands under test: says on standard error when anything is listened on, however briefly.
import net from 'node:net'

const { listen } = net.Server.prototype
net.Server.prototype.listen = function noteListen(...args) {
  process.stderr.write('NOTE: listens\n')
  return listen.apply(this, args)
}
