-- SPDX-License-Identifier: Apache-2.0
-- The C side: its types, its entries, and the context of this Lua state.
local ffi = require "ffi"

-- Types can be declared once per state, but specs load modules afresh: what
-- cannot be made twice is kept where they do not look.
local kept = debug.getregistry()
kept.tidemark = kept.tidemark or {}
kept = kept.tidemark

if kept.native then
   return kept.native
end

local native = {}

--- What `make` returns, made once in this Lua state.
function native.once(name, make)
   if kept[name] == nil then
      kept[name] = make()
   end
   return kept[name]
end

local function entries()
   ffi.cdef "const char *tide_ffi_abi(void);"
   local inside = pcall(function() return ffi.C.tide_ffi_abi end)
   if inside then
      return ffi.C
   end
   local path = os.getenv "TIDEMARK_LIB"
   if not path then
      error("not inside the tidemark program: set TIDEMARK_LIB to build/libtidemark.so", 0)
   end
   return ffi.load(path)
end

--- A new struct type of these fields, and pointers to it. Named, because what
--- busted puts in place of ffi.typeof answers equal text with the same type.
function native.struct(fields)
   kept.structs = (kept.structs or 0) + 1
   local name = "struct tide_lua_" .. kept.structs
   ffi.cdef(name .. " { " .. fields .. " };")
   return ffi.typeof(name), ffi.typeof(name .. " *")
end

local C = entries()
local text = "\n" .. ffi.string(C.tide_ffi_abi())
ffi.cdef((text:gsub("\n#[^\n]*", "\n"):gsub("tide_ro ", "const ")))

local given = package.loaded["tidemark.ctx"]
native.C = C
if given then
   native.ctx = ffi.cast("struct tide_ctx *", given)
else
   native.owned = ffi.gc(C.tide_ffi_ctx_new(), C.tide_ffi_ctx_free)
   native.ctx = ffi.cast("struct tide_ctx *", native.owned)
end

kept.native = native
return native
