"""Do the poses, intrinsics and depth of a scene fit its pictures? Numbers that tell a right reading from a wrong one."""
