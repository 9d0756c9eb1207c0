-- SPDX-License-Identifier: Apache-2.0
-- Processes, sockets and time for tests, straight from libc: no shell between
-- a test and what it starts, so nothing depends on quoting or on names.
local ffi = require "ffi"
local bit = require "bit"

ffi.cdef [[
typedef struct { long opaque[16]; } tide_spawn_actions;   /* 80 bytes in glibc */
typedef struct { long opaque[64]; } tide_spawn_attr;      /* 336 bytes in glibc */
typedef struct { unsigned long bits[16]; } tide_sigset;
struct tide_timespec { long sec; long nsec; };
struct tide_pollfd { int fd; short events; short revents; };
struct tide_sockaddr { uint16_t family; uint16_t port; uint32_t addr; char zero[8]; };

int posix_spawn(int *pid, const char *path, const tide_spawn_actions *, const tide_spawn_attr *,
                char *const argv[], char *const envp[]);
int posix_spawnp(int *pid, const char *file, const tide_spawn_actions *, const tide_spawn_attr *,
                 char *const argv[], char *const envp[]);
int posix_spawn_file_actions_init(tide_spawn_actions *);
int posix_spawn_file_actions_destroy(tide_spawn_actions *);
int posix_spawn_file_actions_addopen(tide_spawn_actions *, int fd, const char *path, int flags,
                                     unsigned mode);
int posix_spawn_file_actions_adddup2(tide_spawn_actions *, int from, int to);
int posix_spawn_file_actions_addclose(tide_spawn_actions *, int fd);
int posix_spawn_file_actions_addchdir_np(tide_spawn_actions *, const char *path);
int posix_spawnattr_init(tide_spawn_attr *);
int posix_spawnattr_destroy(tide_spawn_attr *);
int posix_spawnattr_setflags(tide_spawn_attr *, short flags);
int posix_spawnattr_setsigdefault(tide_spawn_attr *, const tide_sigset *);
int posix_spawnattr_setsigmask(tide_spawn_attr *, const tide_sigset *);
int sigemptyset(tide_sigset *);
int sigaddset(tide_sigset *, int);
int waitpid(int pid, int *status, int options);
int kill(int pid, int sig);
int clock_gettime(int clock, struct tide_timespec *);
int poll(struct tide_pollfd *, unsigned long count, int timeout_ms);
int socket(int domain, int type, int protocol);
int bind(int fd, const struct tide_sockaddr *, unsigned len);
int listen(int fd, int backlog);
int connect(int fd, const struct tide_sockaddr *, unsigned len);
int getsockname(int fd, struct tide_sockaddr *, unsigned *len);
long send(int fd, const void *, size_t, int flags);
long recv(int fd, void *, size_t, int flags);
long read(int fd, void *, size_t);
long write(int fd, const void *, size_t);
int close(int fd);
uint16_t htons(uint16_t);
uint32_t htonl(uint32_t);
char *strerror(int);
int mkdir(const char *, unsigned);
int posix_openpt(int flags);
int grantpt(int fd);
int unlockpt(int fd);
int ptsname_r(int fd, char *buf, size_t);
int ioctl(int fd, unsigned long request, const unsigned short *window);
int mkfifo(const char *, unsigned);
int fcntl(int, int, ...);
int open(const char *, int flags, ...);
int getpid(void);
char *getcwd(char *, size_t);
extern char **environ;
]]

local C = ffi.C
local M = {}

M.signals = { HUP = 1, INT = 2, QUIT = 3, ABRT = 6, KILL = 9, PIPE = 13, TERM = 15, CONT = 18,
              STOP = 19 }

local O_WRONLY, O_RDWR, O_CREAT, O_TRUNC, O_APPEND = 1, 2, 64, 512, 1024
local O_NOCTTY, O_NONBLOCK, O_CLOEXEC = 256, 2048, 524288
local F_SETPIPE_SZ = 1031
local TIOCSWINSZ = 0x5414
local SPAWN_SETSIGDEF, SPAWN_SETSIGMASK, SPAWN_SETSID, SPAWN_SETPGROUP = 4, 8, 128, 2

local function fail_errno(what)
   error(what .. ": " .. ffi.string(C.strerror(ffi.errno())), 3)
end

-- --- Time ------------------------------------------------------------------

local timespec = ffi.new "struct tide_timespec"

--- Seconds on a clock that never goes back.
---@return number
function M.now()
   C.clock_gettime(1, timespec)
   return tonumber(timespec.sec) + tonumber(timespec.nsec) / 1e9
end

---@param ms number
function M.pause(ms)
   C.poll(nil, 0, ms)
end

--- A short text that no other call gives on this machine since it started.
function M.unique()
   C.clock_gettime(1, timespec)
   return ("%d-%09d"):format(tonumber(timespec.sec), tonumber(timespec.nsec))
end

--- Seconds of "2024-01-01T12:00:00.250Z"; good for differences.
---@param text string
function M.time_of(text)
   local year, month, day, hour, min, sec = text:match("^(%d+)-(%d+)-(%d+)T(%d+):(%d+):([%d.]+)Z$")
   local whole = math.floor(tonumber(sec))
   return os.time { year = year, month = month, day = day, hour = hour, min = min, sec = whole,
                    isdst = false } + tonumber(sec) - whole
end

--- Ask until the answer is true-ish or the limit is over; returns the answer.
---@param limit_s number
---@param ask fun(): any
function M.poll_until(limit_s, ask)
   local deadline, step = M.now() + limit_s, 2
   while true do
      local answer = ask()
      if answer or M.now() > deadline then
         return answer
      end
      M.pause(step)
      step = math.min(step * 1.3, 50)
   end
end

-- --- Processes ---------------------------------------------------------------

local Process = {}
Process.__index = Process

local function c_strings(list)
   local array = ffi.new("char *[?]", #list + 1)
   local keep = {}
   for i, text in ipairs(list) do
      keep[i] = ffi.new("char[?]", #text + 1, text)
      array[i - 1] = keep[i]
   end
   array[#list] = nil
   return array, keep
end

-- Our environment with `changes`; false removes a variable.
local function environment(changes)
   local list, i = {}, 0
   while C.environ[i] ~= nil do
      local entry = ffi.string(C.environ[i])
      local name = entry:match("^([^=]*)=")
      if name and changes[name] == nil then
         list[#list + 1] = entry
      end
      i = i + 1
   end
   for name, value in pairs(changes) do
      if value ~= false then
         list[#list + 1] = name .. "=" .. tostring(value)
      end
   end
   return list
end

local function spawn_attributes(options)
   local attr, set = ffi.new "tide_spawn_attr", ffi.new "tide_sigset"
   C.posix_spawnattr_init(attr)
   C.sigemptyset(set)
   C.posix_spawnattr_setsigmask(attr, set)
   -- A background shell ignores these, and ignoring is inherited.
   for _, signal in ipairs { "HUP", "INT", "QUIT", "PIPE", "TERM" } do
      C.sigaddset(set, M.signals[signal])
   end
   C.posix_spawnattr_setsigdefault(attr, set)
   local flags = bit.bor(SPAWN_SETSIGDEF, SPAWN_SETSIGMASK)
   if options.session then
      flags = bit.bor(flags, SPAWN_SETSID)
   elseif options.group then
      flags = bit.bor(flags, SPAWN_SETPGROUP)
   end
   C.posix_spawnattr_setflags(attr, flags)
   return attr
end

local function spawn_actions(options)
   local actions = ffi.new "tide_spawn_actions"
   local create = bit.bor(O_WRONLY, O_CREAT, O_APPEND, options.append and 0 or O_TRUNC)
   C.posix_spawn_file_actions_init(actions)
   if options.tty then
      C.posix_spawn_file_actions_addopen(actions, 0, options.tty, O_RDWR, 0)
   else
      C.posix_spawn_file_actions_addopen(actions, 0, options.stdin or "/dev/null", 0, 0)
   end
   if options.stdout then
      C.posix_spawn_file_actions_addopen(actions, 1, options.stdout, create, 420)
   elseif options.tty then
      C.posix_spawn_file_actions_adddup2(actions, 0, 1)
   end
   if options.stderr then
      C.posix_spawn_file_actions_addopen(actions, 2, options.stderr, create, 420)
   elseif options.tty then
      C.posix_spawn_file_actions_adddup2(actions, 0, 2)
   end
   if options.cwd then
      C.posix_spawn_file_actions_addchdir_np(actions, options.cwd)
   end
   return actions
end

---@class tests.spawn_options
---@field argv string[]       program and arguments; without a slash it is looked up in PATH
---@field env? table          changes to the environment; false removes
---@field cwd? string
---@field stdin? string       a file; /dev/null if absent
---@field stdout? string      a file
---@field stderr? string      a file
---@field tty? string         a terminal for all three instead
---@field append? boolean     to the files, not anew
---@field session? boolean    a session of its own
---@field group? boolean      a process group of its own

--- Start a program. It is a child: wait for it or it stays a zombie.
---@param options tests.spawn_options
function M.spawn(options)
   local argv, keep_argv = c_strings(options.argv)
   local envp, keep_env = c_strings(environment(options.env or {}))
   local actions, attr = spawn_actions(options), spawn_attributes(options)
   local pid = ffi.new "int[1]"
   local rc = C.posix_spawnp(pid, options.argv[1], actions, attr, argv, envp)
   C.posix_spawn_file_actions_destroy(actions)
   C.posix_spawnattr_destroy(attr)
   assert(#keep_argv > 0 and keep_env)
   if rc ~= 0 then
      error(options.argv[1] .. ": " .. ffi.string(C.strerror(rc)), 2)
   end
   return setmetatable({ pid = pid[0], options = options, started = M.now() }, Process)
end

--- Has it ended? Then its exit code, or nil and the signal's number.
function Process:ended()
   if not self.over then
      local status = ffi.new "int[1]"
      local got = C.waitpid(self.pid, status, 1)
      if got == self.pid then
         local signal = bit.band(status[0], 0x7f)
         self.over = true
         self.seconds = M.now() - self.started
         if signal == 0 then
            self.code = bit.band(bit.rshift(status[0], 8), 0xff)
         else
            self.signal = signal
         end
      end
   end
   return self.over
end

--- Send a signal by name; nothing happens when it has ended.
function Process:kill(name)
   local signal = assert(M.signals[name], "no signal of that name")
   if not self:ended() then
      C.kill(self.pid, signal)
   end
end

--- Wait at most limit_s; exit code, or nil and signal, or nil and "running".
function Process:wait(limit_s)
   if M.poll_until(limit_s, function() return self:ended() end) then
      return self.code, self.signal
   end
   return nil, "running"
end

-- Pids below a pid, the deepest first.
local function below(pid, list)
   for _, child in ipairs(M.children(pid)) do
      below(child, list)
      list[#list + 1] = child
   end
   return list
end

--- End it and what it started by force, and collect it.
function Process:destroy()
   if not self:ended() then
      for _, pid in ipairs(below(self.pid, {})) do
         C.kill(pid, M.signals.KILL)
      end
      C.kill(self.pid, M.signals.KILL)
      C.waitpid(self.pid, nil, 0)
      self.over, self.signal = true, M.signals.KILL
   end
end

local function file_text(path)
   local file = path and io.open(path, "rb")
   if not file then
      return ""
   end
   local text = file:read "*a"
   file:close()
   return text
end

function Process:out()
   return file_text(self.options.stdout)
end

function Process:err()
   return file_text(self.options.stderr)
end

--- Pids of the children of a pid, from /proc.
function M.children(pid)
   local list = {}
   local file = io.open(("/proc/%d/task/%d/children"):format(pid, pid))
   if file then
      for child in file:read("*a"):gmatch("%d+") do
         list[#list + 1] = tonumber(child)
      end
      file:close()
   end
   return list
end

--- A pid at or below `pid` whose program's path ends with `suffix`, by /proc.
function M.descendant(pid, suffix)
   local cmdline = file_text(("/proc/%d/cmdline"):format(pid)):match("^[^%z]*")
   if cmdline and cmdline:sub(-#suffix) == suffix then
      return pid
   end
   for _, child in ipairs(M.children(pid)) do
      local found = M.descendant(child, suffix)
      if found then
         return found
      end
   end
end

function M.working_dir()
   local buffer = ffi.new "char[4096]"
   return ffi.string(C.getcwd(buffer, 4096))
end

function M.own_pid()
   return C.getpid()
end

function M.kill_pid(pid, name)
   return C.kill(pid, M.signals[name]) == 0
end

--- Bytes of memory that are resident now and that ever were, from /proc.
function M.memory(pid)
   local text = file_text(("/proc/%d/status"):format(pid))
   return tonumber(text:match("VmRSS:%s*(%d+)") or 0) * 1024,
          tonumber(text:match("VmHWM:%s*(%d+)") or 0) * 1024
end

M.file_text = file_text

-- --- Sockets -----------------------------------------------------------------

local function loopback(port)
   local address = ffi.new "struct tide_sockaddr"
   address.family = 2
   address.port = C.htons(port)
   address.addr = C.htonl(0x7f000001)
   return address
end

--- Loopback ports that are free now: all bound together, then let go.
function M.free_ports(count)
   local fds, ports = {}, {}
   for i = 1, count do
      local fd = C.socket(2, bit.bor(1, O_CLOEXEC), 0)
      local address, len = loopback(0), ffi.new("unsigned[1]", 16)
      if fd < 0 or C.bind(fd, address, 16) ~= 0 or C.getsockname(fd, address, len) ~= 0 then
         fail_errno "a free port"
      end
      fds[i], ports[i] = fd, tonumber(C.htons(address.port))
   end
   for _, fd in ipairs(fds) do
      C.close(fd)
   end
   return ports
end

--- A socket that accepts connections and never says a word; returns port, close().
function M.silent_listener()
   local fd = C.socket(2, bit.bor(1, O_CLOEXEC), 0)
   local address, len = loopback(0), ffi.new("unsigned[1]", 16)
   if fd < 0 or C.bind(fd, address, 16) ~= 0 or C.listen(fd, 64) ~= 0 or
      C.getsockname(fd, address, len) ~= 0 then
      fail_errno "a listening socket"
   end
   return tonumber(C.htons(address.port)), function() C.close(fd) end
end

--- GET over HTTP/1.0 from loopback: status, body, head; nil when nobody answers.
function M.http_get(port, path, headers)
   local fd = C.socket(2, bit.bor(1, O_CLOEXEC), 0)
   if fd < 0 then
      fail_errno "a socket"
   end
   if C.connect(fd, loopback(port), 16) ~= 0 then
      C.close(fd)
      return nil
   end
   local request = ("GET %s HTTP/1.0\r\nHost: 127.0.0.1:%d\r\n%s\r\n"):format(path, port,
                                                                               headers or "")
   C.send(fd, request, #request, 0x4000)
   local parts, buffer = {}, ffi.new "char[65536]"
   local wait = ffi.new("struct tide_pollfd", { fd = fd, events = 1 })
   while C.poll(wait, 1, 10000) == 1 do
      local got = tonumber(C.recv(fd, buffer, 65536, 0))
      if got <= 0 then
         break
      end
      parts[#parts + 1] = ffi.string(buffer, got)
   end
   C.close(fd)
   local head, body = table.concat(parts):match("^(.-\r\n)\r\n(.*)$")
   if not head then
      return nil
   end
   return tonumber(head:match("^HTTP/%d%.%d (%d+)")), body, head
end

-- --- Readers that do not read ------------------------------------------------

--- A named pipe that is open and not read: { read() } takes what is in it, which
--- is `size` bytes at most.
function M.stalled_pipe(path, size)
   if C.mkfifo(path, 384) ~= 0 then
      fail_errno(path)
   end
   local fd = C.open(path, bit.bor(O_RDWR, O_NONBLOCK, O_CLOEXEC))
   if fd < 0 then
      fail_errno(path)
   end
   if size and C.fcntl(fd, F_SETPIPE_SZ, ffi.cast("int", size)) < 0 then
      fail_errno(path)
   end
   local pipe, buffer = {}, ffi.new "char[65536]"

   -- What there is, or the first `most` bytes of it.
   function pipe.read(most)
      local parts, left = {}, most or math.huge
      while left > 0 do
         local got = tonumber(C.read(fd, buffer, math.min(left, 65536)))
         if got <= 0 then
            break
         end
         parts[#parts + 1] = ffi.string(buffer, got)
         left = left - got
      end
      return table.concat(parts)
   end

   function pipe.close()
      C.close(fd)
   end
   return pipe
end

-- --- Terminals ---------------------------------------------------------------

--- A pseudo terminal: { path, type(text), screen() } and close(). Without lines
--- and columns its size is not known.
function M.terminal(lines, columns)
   local fd = C.posix_openpt(bit.bor(O_RDWR, O_NOCTTY, O_CLOEXEC))
   local name = ffi.new "char[128]"
   if fd < 0 or C.grantpt(fd) ~= 0 or C.unlockpt(fd) ~= 0 or C.ptsname_r(fd, name, 128) ~= 0 then
      fail_errno "a pseudo terminal"
   end
   C.ioctl(fd, TIOCSWINSZ, ffi.new("unsigned short[4]", lines or 0, columns or 0))
   local tty = { path = ffi.string(name), shown = {} }
   local buffer = ffi.new "char[65536]"
   local wait = ffi.new("struct tide_pollfd", { fd = fd, events = 1 })

   function tty.type(text)
      C.write(fd, text, #text)
   end

   --- All that was written to it so far. Must be called, or the writer blocks.
   function tty.screen()
      while C.poll(wait, 1, 0) == 1 do
         local got = tonumber(C.read(fd, buffer, 65536))
         if got <= 0 then
            break
         end
         tty.shown[#tty.shown + 1] = ffi.string(buffer, got)
      end
      return table.concat(tty.shown)
   end

   function tty.close()
      C.close(fd)
   end
   return tty
end

return M
