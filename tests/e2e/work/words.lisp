;;; Hash tables, big numbers, strings; prints as it goes.
(let* ((steps (parse-integer (car (last sb-ext:*posix-argv*))))
       (count (make-hash-table :test 'equal)) (n 12345) (big 1))
  (format t "ready~%")
  (finish-output)
  (loop for i from 1 to steps do
    (setf n (mod (+ (* n 1103515245) 12345) 2147483648)
          big (mod (* big n) (1- (expt 2 521))))
    (incf (gethash (format nil "~36r" (mod n 65536)) count 0))
    (when (zerop (mod i 5000))
      (format t "~d ~36r ~d~%" i (mod big 1000003) (hash-table-count count))
      (finish-output)))
  (format t "result ~36r ~d~%" big (hash-table-count count)))
