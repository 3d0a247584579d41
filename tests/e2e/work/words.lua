-- Tables, strings, closures; prints as it goes.
local steps = tonumber(arg[1])
local count, n, text = {}, 12345, {}
io.stdout:setvbuf("line")
print("ready")
for i = 1, steps do
	n = (n * 1103515245 + 12345) % 2147483648
	local w = string.format("%x", n % 65536):gsub("%d", function(d) return string.char(d:byte() + 55) end)
	count[w] = (count[w] or 0) + 1
	if i % 7 == 0 then text[#text + 1] = w:sub(1, 2) end
	if i % 20000 == 0 then print(i, w, #table.concat(text), collectgarbage("count") > 0) end
end
local sum = 0
for _, v in pairs(count) do sum = sum + v * v end
print("result", #table.concat(text), sum)
