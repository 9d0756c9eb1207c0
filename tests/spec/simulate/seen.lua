-- SPDX-License-Identifier: Apache-2.0
-- A table that outside.lua keeps things in.
return {}
