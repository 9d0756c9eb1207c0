-- SPDX-License-Identifier: Apache-2.0
-- What a disk may hold after the power went: the folder as it was before a run,
-- the journal of io_shim.c, and chance.
--
-- Two disks. "ordered" is ext4: a sync of anything makes all earlier names true,
-- names that are not synced come back in their order up to some point, and bytes
-- of a file up to some point. "loose" is near to what POSIX allows: a name is
-- certain when its folder was synced, each other one may or may not be there, and
-- so may each sector; sectors that are not, between others, are zeros. Only RocksDB
-- wants the names in its own folder to come in their order, which every system of
-- files with a journal grants. "whole" loses nothing, which shows that the journal
-- misses nothing.
local ffi = require "ffi"

local M = {}

ffi.cdef [[
struct shim_entry { uint32_t kind, handle; uint64_t offset; uint32_t first, second; };
]]

local OPEN, WRITE, SYNC, TRUNCATE, RENAME, UNLINK, LINK, MKDIR, RMDIR = 1, 2, 3, 4, 5, 6, 7, 8, 9
local O_CREAT, O_TRUNC = 64, 512

-- --- Bytes -------------------------------------------------------------------

local function content_reserve(content, size)
   if size > content.room then
      local room = math.max(size, content.room * 2, 4096)
      local grown = ffi.new("uint8_t[?]", room)
      ffi.copy(grown, content.bytes, content.size)
      content.bytes, content.room = grown, room
   end
end

local function content_write(content, offset, text)
   content_reserve(content, offset + #text)
   ffi.copy(content.bytes + offset, text, #text)
   content.size = math.max(content.size, offset + #text)
end

local function content_truncate(content, size)
   content_reserve(content, size)
   if size < content.size then
      ffi.fill(content.bytes + size, content.size - size)
   end
   content.size = size
end

local function file_new(text)
   local file = { kind = "file", pending = {},
                  content = { bytes = ffi.new "uint8_t[1]", size = 0, room = 1 } }
   if text then
      content_write(file.content, 0, text)
   end
   return file
end

local function file_apply(file, op)
   if op.size then
      content_truncate(file.content, op.size)
   else
      content_write(file.content, op.offset, op.text)
   end
end

local function file_sync(file)
   for _, op in ipairs(file.pending) do
      file_apply(file, op)
   end
   file.pending = {}
end

-- Of the bytes that were not synced some come to be. Returns how many do not.
local function file_lose(file, random, loose)
   local lost, unit = 0, random(2) == 1 and 512 or 4096
   local total = 0
   for _, op in ipairs(file.pending) do
      total = total + (op.text and #op.text or 1)
   end
   local ways = { "none", "prefix", "all" }
   if loose then
      ways[4], ways[5] = "some", "some"
   end
   local way = ways[random(#ways)]
   local left = way == "none" and 0 or way == "prefix" and random(total + 1) - 1 or total
   for _, op in ipairs(file.pending) do
      if op.size then
         if left > 0 and (way ~= "some" or random(2) == 1) then
            file_apply(file, op)
         end
         left = left - 1
      else
         local at = 0
         while at < #op.text do
            -- A sector of the disk ends where its number says, not the write.
            local len = math.min(unit - (op.offset + at) % unit, #op.text - at)
            local kept = math.max(math.min(len, left), 0)
            left = left - kept
            if way == "some" and random(2) == 1 then
               kept = 0
            end
            if kept > 0 then
               file_apply(file, { offset = op.offset + at,
                                  text = op.text:sub(at + 1, at + kept) })
            end
            lost = lost + len - kept
            at = at + len
         end
      end
   end
   file.pending = {}
   return lost
end

-- --- Names -------------------------------------------------------------------

local function dir_new(name)
   return { kind = "dir", live = {}, durable = {}, pending = {}, ordered = name == "db" }
end

local function lines_of(command)
   local list, pipe = {}, assert(io.popen(command))
   for line in pipe:lines() do
      list[#list + 1] = line
   end
   pipe:close()
   return list
end

local function split(path)
   local parent, name = path:match "^(.*)/([^/]+)$"
   return parent or ".", name or path
end

local Disk = {}
Disk.__index = Disk

function Disk:at(path)
   local node = self.top
   if path ~= "." then
      for part in path:gmatch "[^/]+" do
         node = node and node.live and node.live[part]
      end
   end
   return node
end

-- Names change: each change is { folder, name, what } or false for nothing.
function Disk:change(...)
   local op = { changes = { ... } }
   for _, change in ipairs(op.changes) do
      local dir, name, node = change[1], change[2], change[3]
      dir.live[name] = node or nil
      dir.pending[#dir.pending + 1] = op
   end
   self.names[#self.names + 1] = op
   return op
end

local function commit(op)
   op.done = true
   for _, change in ipairs(op.changes) do
      change[1].durable[change[2]] = change[3] or nil
   end
end

-- What was before on the same name cannot come true behind it.
local function overtake(dir, upto)
   local later = {}
   for i = upto, 1, -1 do
      for _, change in ipairs(dir.pending[i].changes) do
         if change[1] == dir then
            if later[change[2]] then
               dir.pending[i].done = true
            end
            later[change[2]] = true
         end
      end
   end
end

local function dir_sync(dir)
   for _, op in ipairs(dir.pending) do
      if not op.done then
         commit(op)
      end
   end
   for _, op in ipairs(dir.pending) do
      for _, change in ipairs(op.changes) do
         local other = change[1]
         if other ~= dir then
            for i, pending in ipairs(other.pending) do
               if pending == op then
                  overtake(other, i)
               end
            end
         end
      end
   end
   dir.pending = {}
end

local function load_tree(path)
   local disk = setmetatable({ top = dir_new(), names = {}, handles = {} }, Disk)
   for _, name in ipairs(lines_of(("cd '%s' && find . -mindepth 1 -type d | sort"):format(path))) do
      local parent, last = split(name:sub(3))
      local node = dir_new(last)
      disk:at(parent).live[last], disk:at(parent).durable[last] = node, node
   end
   for _, name in ipairs(lines_of(("cd '%s' && find . -type f"):format(path))) do
      local parent, last = split(name:sub(3))
      local file = assert(io.open(path .. "/" .. name, "rb"))
      local node = file_new(file:read "*a")
      file:close()
      disk:at(parent).live[last], disk:at(parent).durable[last] = node, node
   end
   return disk
end

-- --- The journal -------------------------------------------------------------

local function named(disk, path, node)
   local parent, name = split(path)
   return { assert(disk:at(parent), path), name, node }
end

local replay = {
   [OPEN] = function(disk, entry, path)
      local flags = tonumber(entry.offset)
      local node = disk:at(path)
      if not node and math.floor(flags / O_CREAT) % 2 == 1 then
         node = file_new()
         disk:change(named(disk, path, node))
      elseif node and node.kind == "file" and math.floor(flags / O_TRUNC) % 2 == 1 then
         node.pending[#node.pending + 1] = { size = 0 }
      end
      disk.handles[entry.handle] = node
   end,
   [WRITE] = function(disk, entry, _, text)
      local node = disk.handles[entry.handle]
      node.pending[#node.pending + 1] = { offset = tonumber(entry.offset), text = text }
   end,
   [TRUNCATE] = function(disk, entry)
      local node = disk.handles[entry.handle]
      node.pending[#node.pending + 1] = { size = tonumber(entry.offset) }
   end,
   [SYNC] = function(disk, entry)
      local node = disk.handles[entry.handle]
      if node.kind == "file" then
         file_sync(node)
      else
         dir_sync(node)
      end
      disk.synced_names = #disk.names
   end,
   [RENAME] = function(disk, _, from, to)
      disk:change(named(disk, from, false), named(disk, to, assert(disk:at(from), from)))
   end,
   [LINK] = function(disk, _, from, to)
      disk:change(named(disk, to, assert(disk:at(from), from)))
   end,
   [UNLINK] = function(disk, _, path)
      disk:change(named(disk, path, false))
   end,
   [RMDIR] = function(disk, _, path)
      disk:change(named(disk, path, false))
   end,
   [MKDIR] = function(disk, _, path)
      disk:change(named(disk, path, dir_new(select(2, split(path)))))
   end,
}

local function replay_journal(disk, path)
   local file = assert(io.open(path, "rb"))
   local count, size = 0, ffi.sizeof "struct shim_entry"
   while true do
      local head = file:read(size)
      if not head or #head < size then
         break
      end
      local entry = ffi.new "struct shim_entry"
      ffi.copy(entry, head, size)
      local first = entry.first > 0 and file:read(entry.first) or ""
      local second = entry.second > 0 and file:read(entry.second) or ""
      if #first < entry.first or #second < entry.second then
         break -- the kill came while it was written
      end
      replay[entry.kind](disk, entry, first, second)
      count = count + 1
   end
   file:close()
   return count
end

-- --- Losing ------------------------------------------------------------------

-- Is one of the folders of a change at its end already?
local function touches_cut(op)
   for _, change in ipairs(op.changes) do
      if change[1].cut then
         return true
      end
   end
   return false
end

-- What is lost of a folder with order takes all behind it along.
local function lose_name(op)
   for _, change in ipairs(op.changes) do
      change[1].cut = change[1].ordered
   end
end

-- Which of the names that are not certain come to be; returns how many do not.
local function lose_names(disk, random, how)
   local certain = how == "ordered" and (disk.synced_names or 0) or 0
   local open, lost = {}, 0
   for i, op in ipairs(disk.names) do
      if how == "whole" or i <= certain then
         commit(op)
      elseif not op.done then
         open[#open + 1] = op
      end
   end
   local upto = random(#open + 1) - 1
   for i, op in ipairs(open) do
      local kept = how == "ordered" and i <= upto
      if how == "loose" then
         kept = not touches_cut(op) and random(2) == 1
      end
      if kept then
         commit(op)
      else
         lose_name(op)
         lost = lost + 1
      end
   end
   return lost
end

local function write_tree(disk, dir, path, random, how, seen)
   local lost = 0
   assert(os.execute("mkdir -p '" .. path .. "'") == 0)
   for name, node in pairs(dir.durable) do
      local where = path .. "/" .. name
      if node.kind == "dir" then
         lost = lost + write_tree(disk, node, where, random, how, seen)
      else
         if how == "whole" then
            file_sync(node)
         elseif not seen[node] then
            lost = lost + file_lose(node, random, how == "loose")
         end
         seen[node] = true
         local file = assert(io.open(where, "wb"))
         file:write(ffi.string(node.content.bytes, node.content.size))
         file:close()
      end
   end
   return lost
end

---@class power.options
---@field before string   the folder before the run
---@field journal string
---@field out string      made; what the disk holds now
---@field random fun(n: integer): integer   1..n
---@field how "ordered"|"loose"|"whole"

--- Returns the changes in the journal, and the names and bytes that are lost.
---@param options power.options
function M.rebuild(options)
   local disk = load_tree(options.before)
   local changes = replay_journal(disk, options.journal)
   local names = lose_names(disk, options.random, options.how)
   local bytes = write_tree(disk, disk.top, options.out, options.random, options.how, {})
   return changes, names, bytes
end

return M
