% Matrices; prints as it goes.
steps = str2double(argv(){end});
rand("seed", 7);
x = eye(60);
printf("ready\n"); fflush(stdout);
for i = 1:steps
  x = x * rand(60); x = x / norm(x);
  if mod(i, 50) == 0, printf("%d %.12f\n", i, sum(x(:))); fflush(stdout); end
end
printf("result %.12f\n", sum(x(:)));
